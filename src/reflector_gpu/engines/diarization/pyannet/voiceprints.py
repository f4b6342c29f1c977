"""How people sound, as one vector each, by which they are known again in other recordings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.base import Pcm
from reflector_gpu.engines.diarization.pyannet.mel import HOP, MARGIN, Mel, mel_power
from reflector_gpu.engines.diarization.pyannet.networks import Networks
from reflector_gpu.types import SAMPLE_RATE, Span, SpeakerTurn

Voiceprint = npt.NDArray[np.float32]
"""``float32[256]`` of length 1. The cosine of two of them is how alike the voices are."""

SAME = 0.55
"""The least cosine of one person's voices. Of 18 people in meetings, telephone calls and read
speech, 7 % of the pairs of one person's voices are below it, and 1 % of those of two people above.
"""

_MOST_SECONDS = 60.0
"""Of a speaker, in their longest turns. More makes a vector no better."""

_LEAST_SECONDS = 1.5
_EDGE = 0.1  # seconds at either end of a turn that may be somebody else's


def voiceprints(
    networks: Networks, pcm: Pcm, turns: Sequence[SpeakerTurn]
) -> Mapping[int, Voiceprint]:
    """The voiceprint of each speaker who speaks alone for long enough."""
    alone: defaultdict[int, list[Span]] = defaultdict(list)
    for speaker, span in _alone(turns):
        alone[speaker].append(span)
    found: dict[int, Voiceprint] = {}
    for speaker, spans in alone.items():
        rows = _rows(pcm, sorted(spans, key=lambda span: span[0] - span[1]))
        if len(rows) * HOP >= _LEAST_SECONDS * SAMPLE_RATE:
            found[speaker] = networks.vector(rows)
    return found


def _alone(turns: Sequence[SpeakerTurn]) -> list[tuple[int, Span]]:
    """The stretches in which exactly one person speaks, without their edges."""
    edges = sorted(
        edge
        for number, turn in enumerate(turns)
        for edge in ((turn.start, 1, number), (turn.end, 0, number))
    )
    speaking: set[int] = set()
    found: list[tuple[int, Span]] = []
    for (at, begins, number), (until, _, _) in pairwise(edges):
        (speaking.add if begins else speaking.discard)(number)
        people = {turns[one].speaker for one in speaking}
        if len(people) == 1 and until - at > 3 * _EDGE:
            found.append((people.pop(), (at + _EDGE, until - _EDGE)))
    return found


def _rows(pcm: Pcm, spans: Sequence[Span]) -> Mel:
    """The features of ``spans``, as many as are of use."""
    rows: list[Mel] = []
    left = _MOST_SECONDS
    for begin, end in spans:
        seconds = min(end - begin, left)
        first, hops = round(begin * SAMPLE_RATE), int(seconds * SAMPLE_RATE) // HOP
        if hops > 0:
            rows.append(mel_power(pcm.read(first - MARGIN, first + hops * HOP + MARGIN)))
        left -= seconds
        if left <= 0:
            break
    return np.concatenate(rows) if rows else np.zeros((0, 1), np.float32)
