"""Segments in which one person speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from reflector_gpu.types import Segment, Word


def monologues(segment: Segment) -> tuple[Segment, ...]:
    """``segment`` cut where the speaker of its words changes. Each part names its speaker.

    A word without a speaker has the segment's, or else that of the word before.
    """
    parts = [
        (speaker, tuple(word for _, word in labelled))
        for speaker, labelled in groupby(_labelled(segment), key=lambda pair: pair[0])
    ]
    if len(parts) < 2:
        return (replace(segment, speaker=parts[0][0] if parts else segment.speaker),)
    return tuple(
        replace(
            Segment.of(words, segment.scores),
            speaker=speaker,
            continues=cuts > 0 or segment.continues,
            language=segment.language,
        )
        for cuts, (speaker, words) in enumerate(parts)
    )


def _labelled(segment: Segment) -> Iterator[tuple[str | None, Word]]:
    speaker = next((word.speaker for word in segment.words if word.speaker), None)
    for word in segment.words:
        speaker = word.speaker or segment.speaker or speaker
        yield speaker, word
