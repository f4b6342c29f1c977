"""The `response_format` values of the OpenAI audio API, and what each is sent as."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, TypeAlias

Granularity: TypeAlias = Literal["word", "segment"]
"""A value of `timestamp_granularities[]`: what of `verbose_json` the client wants."""

DEFAULT_GRANULARITIES: tuple[Granularity, ...] = ("segment",)
"""What it gets if it does not say."""


class Format(StrEnum):
    """What a client writes in `response_format`."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    DIARIZED_JSON = "diarized_json"


WITH_SPEAKERS = (Format.DIARIZED_JSON, Format.VERBOSE_JSON, Format.SRT, Format.VTT)
"""Those that say who speaks, if that is told apart. Reflector's forms, which have no name, do too.
"""

WITH_LOGPROBS = (Format.JSON, None)
"""Those that say how likely each token is, as OpenAI has it, for which no format means `json`."""

MEDIA_TYPES: Mapping[Format, str] = MappingProxyType(
    {
        Format.JSON: "application/json",
        Format.TEXT: "text/plain; charset=utf-8",
        Format.SRT: "application/x-subrip; charset=utf-8",
        Format.VTT: "text/vtt; charset=utf-8",
        Format.VERBOSE_JSON: "application/json",
        Format.DIARIZED_JSON: "application/json",
    }
)
"""The `Content-Type` of each format. SubRip has no registered type: this is the usual one."""

EVENT_STREAM = "text/event-stream"
"""The `Content-Type` of a streamed transcription, whatever its format."""
