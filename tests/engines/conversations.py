"""Conversations put together from the recordings under fixtures/speech, and how wrong one is told.

The fixtures' networks know these voices; what they say here was never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import SAMPLE_RATE, Samples, SpeakerTurn
from tests.engines.tiny import Clip, clips

FRAMES_PER_SECOND = 100


@dataclass(frozen=True)
class Line:
    """A clip by somebody: the ``take``-th of ``voice``, ``gap`` seconds after the one before;
    less than none where they overlap."""

    voice: str
    take: int
    gap: float


TWO = [
    Line("kal16", 0, 0.0),
    Line("en-us-f2", 0, 0.4),
    Line("kal16", 2, 0.3),
    Line("en-us-f2", 2, 0.5),
    Line("en-us-f2", 1, 0.2),
    Line("kal16", 3, 0.4),
    Line("en-us-f2", 3, 0.3),
    Line("kal16", 1, 0.6),
]

THREE = [
    *(Line("rms", take, 0.3) for take in (0, 1, 2)),
    *(Line("en-us-f2", take, 0.4) for take in (0, 1, 2, 3)),
    *(Line("kal16", take, 0.3) for take in (0, 2, 3, 4, 5)),
    *(Line("rms", take, 0.4) for take in (1, 0, 2)),
    *(Line("en-us-f2", take, 0.3) for take in (3, 4, 1)),
]
"""No three in ten seconds: that is too much for these networks."""

OVERLAPPING = [
    Line("kal16", 0, 0.0),
    Line("en-us-f2", 0, 0.4),
    Line("kal16", 2, -1.0),
    Line("en-us-f2", 2, 0.5),
    Line("kal16", 3, -1.0),
    Line("en-us-f2", 3, 0.4),
    Line("kal16", 1, 0.3),
]


def said(voice: str) -> list[Clip]:
    """The clips of a voice: ``slt``, ``rms``, ``en-us-f2``, ..."""
    return [clip for clip in clips("en") if clip.path.name.split("_")[1] == voice]


def conversation(lines: Sequence[Line]) -> tuple[Samples, list[SpeakerTurn]]:
    """The sound of ``lines``, half a second around them, and who speaks when."""
    names = list(dict.fromkeys(line.voice for line in lines))
    parts: list[tuple[int, Samples]] = []
    turns: list[SpeakerTurn] = []
    end = 0.5
    for line in lines:
        of = said(line.voice)
        clip = of[line.take % len(of)]
        first = clip.words[0].start
        begin = max(end + line.gap, first)
        parts.append((round((begin - first) * SAMPLE_RATE), clip.samples))
        last = begin + clip.words[-1].end - first
        turns.append(SpeakerTurn(begin, last, names.index(line.voice)))
        end = max(end, last)
    sound = np.zeros(round((end + 0.5) * SAMPLE_RATE) + SAMPLE_RATE, np.float32)
    for at, samples in parts:
        sound[at : at + len(samples)] += samples
    return sound[: round((end + 0.5) * SAMPLE_RATE)], turns


def error_rate(found: Sequence[SpeakerTurn], truth: Sequence[SpeakerTurn]) -> float:
    """The diarization error rate, no collar, overlaps counted: of the speech of all, how much is
    missed, made up or somebody else's under the best naming."""
    length = round(max(turn.end for turn in (*found, *truth)) * FRAMES_PER_SECOND) + 1
    told, true = (_table(turns, length) for turns in (found, truth))
    size = max(told.shape[1], true.shape[1])
    told, true = (np.pad(t, ((0, 0), (0, size - t.shape[1]))) for t in (told, true))
    both = true.T.astype(int) @ told.astype(int)
    right = max(sum(both[a, b] for a, b in enumerate(order)) for order in permutations(range(size)))
    total = np.maximum(told.sum(axis=1), true.sum(axis=1)).sum()
    return float((total - right) / true.sum())


def _table(turns: Sequence[SpeakerTurn], length: int) -> npt.NDArray[np.bool_]:
    table = np.zeros((length, 1 + max((turn.speaker for turn in turns), default=0)), bool)
    for turn in turns:
        first, last = (round(time * FRAMES_PER_SECOND) for time in (turn.start, turn.end))
        table[first:last, turn.speaker] = True
    return table
