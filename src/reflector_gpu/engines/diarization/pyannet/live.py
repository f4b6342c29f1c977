"""Who speaks in a recording that goes on: labels while it does, corrected at its end.

Each window is heard once, as soon as it has been recorded. Then all voices so far are clustered
anew, less and less often, and people keep the numbers that most of their voices had. So a wrong
label is put right for what follows, and at the end for the whole recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.pyannet.clustering import assigned, people
from reflector_gpu.engines.diarization.pyannet.joining import told_apart
from reflector_gpu.engines.diarization.pyannet.mel import MARGIN
from reflector_gpu.engines.diarization.pyannet.networks import SHIFT, STEP, WINDOW, Networks, Voice
from reflector_gpu.engines.diarization.pyannet.timeline import Windows, turns_of
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

_HOP = STEP * SHIFT
_SETTLED = -(-WINDOW // _HOP)
"""Windows that hear a moment together: an earlier one tells nothing new of the last."""

_AGAIN = 1.05
"""Voices are clustered again when there are so many times as many."""


class _Company:
    """The people who were heard so far, and the numbers by which they were told."""

    def __init__(self) -> None:
        self.count = 0
        self._clear: list[npt.NDArray[np.float16]] = []
        self._numbers: list[int] = []
        self._centroids = np.zeros((0, 0), np.float32)
        self._names: list[int] = []  # the number of each centroid
        self._due = 0

    def numbers(self, voices: Sequence[Voice]) -> list[int]:
        """Those of ``voices``, which are the speakers of the newest window."""
        clear = [one.vector for one in voices if one.clear]
        if len(self._clear) + len(clear) >= self._due and (clear or not self._names):
            self._cluster([*self._clear, *(clear or [one.vector for one in voices])])
        vectors = np.stack([one.vector for one in voices]).astype(np.float32)
        found = [self._names[who] for who in assigned(vectors @ self._centroids.T).tolist()]
        self._clear += clear
        self._numbers += [who for who, one in zip(found, voices, strict=True) if one.clear]
        return found

    def _cluster(self, vectors: Sequence[npt.NDArray[np.float16]]) -> None:
        stacked = np.stack(vectors).astype(np.float32)
        self._centroids = people(stacked, DiarizeOptions())
        whose = (stacked[: len(self._numbers)] @ self._centroids.T).argmax(axis=1)
        pairs = Counter(zip(whose.tolist(), self._numbers, strict=True))
        known = _matched(pairs)
        self._names = []
        for who in range(len(self._centroids)):
            if who not in known:
                known[who], self.count = self.count, self.count + 1
            self._names.append(known[who])
        self._due = round(len(vectors) * _AGAIN)


class LiveDiarizer:
    """Takes the samples of one recording as they are recorded."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._pending: Samples = np.zeros(MARGIN, np.float32)
        self._received = 0
        self._windows = Windows()
        self._voices: list[Voice] = []
        self._people = _Company()
        self._person: dict[tuple[int, int], int] = {}
        self._told: list[SpeakerTurn] = []
        self._until = 0.0

    def push(self, samples: Samples) -> list[SpeakerTurn]:
        """The turns in what has newly been heard, up to five seconds behind.

        A turn that goes on is told in parts. A speaker's number stays.
        """
        self._received += len(samples)
        self._pending = np.concatenate([self._pending, samples])
        found: list[SpeakerTurn] = []
        while len(self._pending) >= WINDOW + 2 * MARGIN:
            found += self._hear()
        return found

    def rest(self) -> list[SpeakerTurn]:
        """The turns in what was not heard yet. Nothing may be pushed after that."""
        heard = len(self._windows)
        if heard and (heard - 1) * _HOP + WINDOW >= self._received:
            return []
        self._pending = np.pad(self._pending, (0, WINDOW + 2 * MARGIN))
        return self._hear()

    def finish(self, options: DiarizeOptions) -> list[SpeakerTurn]:
        """All turns of the whole recording, corrected. People keep their numbers where they can."""
        self.rest()
        seconds = self._received / SAMPLE_RATE
        found = told_apart(self._windows, self._voices, seconds, options)
        number = _kept(found, self._told)
        return [replace(turn, speaker=number[turn.speaker]) for turn in found]

    def _hear(self) -> list[SpeakerTurn]:
        """Hear the window that pending samples begin with."""
        heard = self._networks.hear(self._pending[: WINDOW + 2 * MARGIN], 1)
        self._pending = self._pending[_HOP:]
        number = len(self._windows)
        self._windows.append(heard)
        voices = [replace(one, window=number) for one in heard.voices]
        self._voices += voices
        if voices:
            found = self._people.numbers(voices)
            self._person |= {
                (number, one.speaker): who for one, who in zip(voices, found, strict=True)
            }
        return self._new_turns(number)

    def _new_turns(self, window: int) -> list[SpeakerTurn]:
        end = min((window * _HOP + WINDOW), self._received) / SAMPLE_RATE
        first = max(0, window + 1 - _SETTLED)
        person = {
            (w - first, speaker): who for (w, speaker), who in self._person.items() if w >= first
        }
        recent = self._windows.since(first)
        offset = first * _HOP / SAMPLE_RATE
        found = turns_of(recent, person, self._people.count, end - offset)
        told = [
            SpeakerTurn(max(turn.start + offset, self._until), turn.end + offset, turn.speaker)
            for turn in found
            if turn.end + offset > self._until
        ]
        self._until = end
        self._person = {key: who for key, who in self._person.items() if key[0] >= first}
        self._told += told
        return told


def _kept(found: Iterable[SpeakerTurn], told: Sequence[SpeakerTurn]) -> Mapping[int, int]:
    """The numbers that people of ``found`` had while it was ``told``, or else new ones."""
    shared: Counter[tuple[int, int]] = Counter()
    found = list(found)
    first = 0
    for turn in found:
        while first < len(told) and told[first].end + WINDOW / SAMPLE_RATE < turn.start:
            first += 1
        for other in told[first:]:
            if other.start > turn.end:
                break
            common = min(turn.end, other.end) - max(turn.start, other.start)
            if common > 0:
                shared[turn.speaker, other.speaker] += round(common * SAMPLE_RATE)
    number = _matched(shared)
    unused = (n for n in count() if n not in number.values())
    for turn in found:
        if turn.speaker not in number:
            number[turn.speaker] = next(unused)
    return number


def _matched(shared: Counter[tuple[int, int]]) -> dict[int, int]:
    """One of the second for each of the first, the pairs that share most before others."""
    found: dict[int, int] = {}
    for (one, other), _ in shared.most_common():
        if one not in found and other not in found.values():
            found[one] = other
    return found
