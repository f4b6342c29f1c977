"""How one recording is to be transcribed, once what the client sent is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reflector_gpu.audio.tracks import ANY_TRACK, TrackWish
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.types import DiarizeOptions, Priority, TranscribeOptions


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """How one recording is to be transcribed, as a client asked and the service checked."""

    model: RecogniserModel
    options: TranscribeOptions = field(default_factory=TranscribeOptions)
    """Their language is the model's own code for `language`."""
    language: str | None = None
    """What is spoken, if that is told, as the client writes it."""
    priority: Priority = Priority.LIVE
    vad: VadOptions = field(default_factory=VadOptions)
    speakers: DiarizeOptions | None = None
    """How to tell them apart; None: not at all."""
    voices: Sequence[Voice] = ()
    """Of speakers whose names are known."""
    waited: Callable[[float], None] | None = None
    """Told, by a thread, how many seconds each chunk waited for a worker."""
    translate_to: str | None = None
    """The language that segments are translated to, if any, as the client writes it."""
    translated: bool = False
    """Whether their translations stand in their place."""
    track: TrackWish = ANY_TRACK
    """Which of the file's audio tracks."""
    streamed: bool = False
    """Whether somebody reads along, so that the first words have to come early."""
    strict: bool = False
    """Whether it fails if the engine fails on a part of it."""

    @property
    def written(self) -> str | None:
        """The language of the transcript, if that is told."""
        return "en" if self.options.task == "translate" else self.language
