"""The events of streamed transcriptions, as openai-python parses them. `schemas` says how to dump
them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from reflector_gpu.formats.schemas import (
    Body,
    DiarizedSegment,
    End,
    Language,
    Logprobs,
    SpokenWord,
    Start,
    Text,
    Translated,
    TranslatedSegment,
    Warned,
)


class DeltaEvent(Body):
    """More text. All deltas, one after the other, spell the final text.

    `start`, `end` and `words` are ours, not OpenAI's: times for clients that cannot wait.
    """

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str = Field(description="The text to append.", examples=[" Hello world."])
    start: Start
    end: End
    words: tuple[SpokenWord, ...]
    logprobs: Logprobs = None
    segment_id: str | None = Field(
        default=None,
        description="Where speakers are told apart: the id of the `transcript.text.segment` event "
        "that will say who began this text. If others speak in it as well, their events have the "
        "same id with `_1`, `_2`, ... behind it.",
        examples=["seg_0"],
    )


class StreamUsage(Body):
    """What the request used, in the only form OpenAI has for streams: tokens billed.

    No tokens are billed here, so they are 0; `seconds` is ours and says what was used.
    """

    type: Literal["tokens"] = "tokens"
    input_tokens: Literal[0] = 0
    output_tokens: Literal[0] = 0
    total_tokens: Literal[0] = 0
    seconds: int = Field(description="Seconds of audio, rounded up.", examples=[13])


class DoneEvent(Body):
    """The last event: the whole text once more."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: Text
    translation: Translated = None
    segments: tuple[TranslatedSegment, ...] | None = Field(
        default=None, description="Ours: every segment. Absent unless `translate_to` is set."
    )
    languages: tuple[Language, ...] = Field(
        description="Empty where no language was named or detected."
    )
    logprobs: Logprobs = None
    warnings: Warned = None
    usage: StreamUsage


StreamEvent: TypeAlias = DeltaEvent | DiarizedSegment | DoneEvent
"""What a streamed transcription consists of."""
