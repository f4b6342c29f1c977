"""The `response_format` values of the OpenAI audio API, and their media types."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, TypeAlias

Granularity: TypeAlias = Literal["word", "segment"]
"""A value of `timestamp_granularities[]`: which times `verbose_json` has."""

DEFAULT_GRANULARITIES: tuple[Granularity, ...] = ("segment",)
"""The granularities of a request that names none."""


class Format(StrEnum):
    """What a client writes in `response_format`."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    DIARIZED_JSON = "diarized_json"


WITH_SPEAKERS = (Format.DIARIZED_JSON, Format.VERBOSE_JSON, Format.SRT, Format.VTT)
"""Formats that can name speakers. Reflector's, which have no name here, can too."""

WITH_LOGPROBS = (Format.JSON, None)
"""Formats that can have logprobs. For OpenAI, no format means `json`."""

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
