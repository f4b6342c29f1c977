"""From the voices of all windows to who speaks when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.pyannet.clustering import assigned, people
from reflector_gpu.engines.diarization.pyannet.networks import (
    SHIFT,
    SPEAKERS,
    STEP,
    WINDOW,
    Voice,
)
from reflector_gpu.engines.diarization.pyannet.timeline import Person, Windows, turns_of, unknown
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, SpeakerTurn

_CLEAR, _UNCLEAR = 20.0, 8.0
"""How steeply the probability that a voice is somebody's grows with how much more alike it is to
them than to the next one; for voices that were heard alone and others. A rough fit to 187 voices of
meetings and telephone calls."""

_HOP_SECONDS, _WINDOW_SECONDS = STEP * SHIFT / SAMPLE_RATE, WINDOW / SAMPLE_RATE


def told_apart(
    windows: Windows, voices: Sequence[Voice], seconds: float, options: DiarizeOptions
) -> list[SpeakerTurn]:
    """Who speaks when, by the ``voices`` of all ``windows``. They are numbered as they first speak,
    and each turn says how sure it is."""
    if not voices:
        return []
    clear = [one.vector for one in voices if one.clear] or [one.vector for one in voices]
    centroids = people(np.stack(clear), options)
    person, sure = unknown(len(windows)), np.zeros((len(windows), SPEAKERS), np.float32)
    for window, own in by_window(voices):
        alike = np.stack([one.vector for one in own]).astype(np.float32) @ centroids.T
        for one, row, who in zip(own, alike, assigned(alike), strict=True):
            person[window, one.speaker] = who
            sure[window, one.speaker] = probability(row, int(who), clear=one.clear)
    together = 1 if options.exclusive else options.most
    number: dict[int, int] = {}
    return [
        replace(
            turn,
            speaker=number.setdefault(turn.speaker, len(number)),
            confidence=_confidence(turn, person, sure),
        )
        for turn in turns_of(windows, person, len(centroids), seconds, together)
    ]


def by_window(voices: Sequence[Voice]) -> Iterator[tuple[int, list[Voice]]]:
    """The number of each window that has any of ``voices``, and its own."""
    own: list[Voice] = []
    for one in voices:
        if own and own[0].window != one.window:
            yield own[0].window, own
            own = []
        own.append(one)
    if own:
        yield own[0].window, own


def probability(alike: npt.NDArray[np.floating[Any]], who: int, *, clear: bool) -> float:
    """The probability that a voice is the person ``who``, by how ``alike`` it is to each person."""
    others = np.delete(alike, who)
    if not len(others):
        return 1.0
    steepness = _CLEAR if clear else _UNCLEAR
    return float(1 / (1 + np.exp(-steepness * (alike[who] - others.max()))))


def _confidence(turn: SpeakerTurn, person: Person, sure: npt.NDArray[np.float32]) -> float | None:
    """The mean of the windows in which the turn's speaker is heard, each as long as it has of it.

    None if none of them knows the voice.
    """
    first = max(0, int((turn.start - _WINDOW_SECONDS) / _HOP_SECONDS))
    total = weight = 0.0
    for window in range(first, min(len(person), int(turn.end / _HOP_SECONDS) + 1)):
        certain = sure[window, person[window] == turn.speaker]
        begin = window * _HOP_SECONDS
        common = min(turn.end, begin + _WINDOW_SECONDS) - max(turn.start, begin)
        if len(certain) and common > 0:
            total, weight = total + float(certain.max()) * common, weight + common
    return round(total / weight, 3) if weight else None
