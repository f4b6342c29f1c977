"""What a client wants of one recording, once it has been checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from reflector_gpu.audio.tracks import ANY_TRACK, TrackWish
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.pipeline.identification import Identify
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.types import Chunk, DiarizeOptions, Priority, Recognition, TranscribeOptions

Remember: TypeAlias = Callable[
    [Chunk, TranscribeOptions, Callable[[], Awaitable[Recognition]]], Awaitable[Recognition]
]
"""Gives what is in a chunk: from memory, or else by calling the last argument."""


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """How one recording is to be transcribed, as a client asked and the service checked."""

    model: RecogniserModel
    options: TranscribeOptions = field(default_factory=TranscribeOptions)
    """The recogniser's options. The language in them is the model's own code for `language`."""
    language: str | None = None
    """The spoken language as the client writes it, or None if the client does not say."""
    priority: Priority = Priority.LIVE
    vad: VadOptions = field(default_factory=VadOptions)
    speakers: DiarizeOptions | None = None
    """How to tell speakers apart, or None if they need not be."""
    voices: Sequence[Voice] = ()
    """The voices of speakers whose names are known."""
    identify: Identify | None = None
    """What finds speakers whose voices are remembered, if anybody asks for them."""
    waited: Callable[[float], None] | None = None
    """Called by a thread with the seconds that each chunk waited for a worker."""
    remember: Remember | None = None
    """What keeps recognised chunks for a second try at the recording, if there may be one."""
    translate_to: str | None = None
    """The language to translate segments to, as the client writes it, or None."""
    translated: bool = False
    """Whether translations replace the text, instead of standing beside it."""
    track: TrackWish = ANY_TRACK
    """Which of the file's audio tracks to transcribe."""
    separate: bool = False
    """Whether each channel is transcribed by itself, and is the speaker of its words."""
    streamed: bool = False
    """Whether the client reads along, so that the first words have to come early."""
    strict: bool = False
    """Whether it fails if the engine fails on a part of it."""

    @property
    def written(self) -> str | None:
        """The language of the transcript, or None if the client does not say."""
        return "en" if self.options.task == "translate" else self.language
