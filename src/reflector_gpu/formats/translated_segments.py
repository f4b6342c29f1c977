"""Segments of a transcript with their translations."""

from __future__ import annotations

from reflector_gpu.formats.schemas import TranslatedSegment
from reflector_gpu.formats.words import seconds
from reflector_gpu.types import Transcript


def translated_segments(
    source: Transcript, offset: float = 0.0
) -> tuple[TranslatedSegment, ...] | None:
    """Every segment with its translation; None if the transcript is not translated."""
    if source.translation is None:
        return None
    return tuple(
        TranslatedSegment(
            start=seconds(segment.start, offset),
            end=seconds(segment.end, offset),
            text=segment.text,
            translation=segment.translation or "",
            speaker=segment.speaker,
        )
        for segment in source.segments
    )
