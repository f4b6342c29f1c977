"""Warnings about audio that may be missing from a transcript."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict

from reflector_gpu.formats.schemas import AudioTrack, TracksOfFile, TruncatedFile, Warnings
from reflector_gpu.formats.words import seconds
from reflector_gpu.types import SOUND, Condition, Span, Track, Transcript, Truncation

WARNINGS_HEADER = "X-Reflector-Warnings"
"""The header with the warnings as JSON, for formats that have no place for them."""

_MOST_IN_HEADER = 20


def of_transcript(transcript: Transcript, offset: float = 0.0) -> Warnings | None:
    """The warnings about a transcript, if any. ``offset`` is added to every time."""
    return of_condition(transcript.condition, offset, transcript.unheard)


def of_condition(
    condition: Condition, offset: float = 0.0, unheard: Collection[Span] = ()
) -> Warnings | None:
    """The warnings about a recording, if any. ``offset`` is added to every time."""
    if condition == SOUND and not unheard:
        return None
    cut, taken = condition.truncated, condition.taken
    return Warnings(
        unheard=_spans(unheard, offset),
        damaged=_spans(condition.damaged, offset),
        truncated=_truncated(cut) if cut else None,
        tracks=TracksOfFile(taken=_track(taken), left=tuple(map(_track, condition.left)))
        if taken
        else None,
    )


def headers(found: Warnings | None) -> dict[str, str]:
    """The header of an answer. It has only the first of many stretches."""
    if found is None:
        return {}
    first = {
        "unheard": (found.unheard or ())[:_MOST_IN_HEADER] or None,
        "damaged": (found.damaged or ())[:_MOST_IN_HEADER] or None,
    }
    told = found.model_copy(update=first).model_dump(mode="json", exclude_none=True)
    # Titles of tracks may have any characters, but a header has printable ASCII alone.
    return {WARNINGS_HEADER: json.dumps(told, separators=(",", ":"))}


def condition_of(found: Warnings) -> Condition:
    """The condition that another server's warnings describe."""
    cut, tracks = found.truncated, found.tracks
    return Condition(
        found.damaged or (),
        Truncation(cut.decoded, cut.expected) if cut else None,
        Track(**tracks.taken.model_dump()) if tracks else None,
        tuple(Track(**track.model_dump()) for track in tracks.left) if tracks else (),
    )


def _truncated(cut: Truncation) -> TruncatedFile:
    expected = None if cut.expected is None else seconds(cut.expected)
    return TruncatedFile(expected=expected, decoded=seconds(cut.decoded))


def _track(track: Track) -> AudioTrack:
    return AudioTrack(**asdict(track))


def _spans(spans: Iterable[Span], offset: float) -> tuple[Span, ...] | None:
    return tuple((seconds(a, offset), seconds(b, offset)) for a, b in spans) or None
