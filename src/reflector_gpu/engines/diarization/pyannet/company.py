"""The people of a recording that goes on, and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.pyannet.clustering import Vectors, assigned, people
from reflector_gpu.engines.diarization.pyannet.networks import DIMENSIONS, Voice
from reflector_gpu.types import DiarizeOptions

_AGAIN = 1.05
"""Voices are clustered again when there are so many times as many."""

_MOST = 400
"""Voices that are kept one by one. Beyond, the oldest of each person become their sum."""


class Company:
    """Memory does not grow with the recording: old voices of a person are kept as their sum."""

    def __init__(self) -> None:
        self.count = 0
        """How many numbers were given."""
        self._sums: list[npt.NDArray[np.float32]] = []
        self._sizes: list[int] = []
        self._numbers: list[int] = []  # of each sum
        self._centroids: Vectors = np.zeros((0, DIMENSIONS), np.float32)
        self._names: list[int] = []  # the number of each centroid
        self._due = 0

    def numbers(self, voices: Sequence[Voice]) -> list[int]:
        """Those of ``voices``, which are the speakers of the newest window. They are remembered."""
        clear = [one.vector.astype(np.float32) for one in voices if one.clear]
        if sum(self._sizes) + len(clear) >= self._due and (clear or not self._names):
            self._cluster(clear or [one.vector.astype(np.float32) for one in voices])
        found = self.recognised(voices)
        self._sums += clear
        self._sizes += [1] * len(clear)
        self._numbers += [who for who, one in zip(found, voices, strict=True) if one.clear]
        if len(self._sums) > _MOST:
            self._forget()
        return found

    def recognised(self, voices: Sequence[Voice]) -> list[int]:
        """The numbers of ``voices`` as far as is known; nothing is remembered of them."""
        if not self._names:
            return list(range(len(voices)))
        vectors = np.stack([one.vector for one in voices]).astype(np.float32)
        return [self._names[who] for who in assigned(vectors @ self._centroids.T).tolist()]

    def corrected(self, options: DiarizeOptions) -> Vectors:
        """The vector of each person, by all that was heard."""
        if not self._sums:
            return self._centroids
        return people(np.stack(self._sums), options, np.array(self._sizes, np.float64))

    def _cluster(self, new: Sequence[npt.NDArray[np.float32]]) -> None:
        stacked = np.stack([*self._sums, *new])
        sizes = np.array([*self._sizes, *[1] * len(new)], np.float64)
        self._centroids = people(stacked, DiarizeOptions(), sizes)
        whose = (stacked[: len(self._numbers)] @ self._centroids.T).argmax(axis=1)
        pairs: Counter[tuple[int, int]] = Counter()
        for who, number, size in zip(whose.tolist(), self._numbers, self._sizes, strict=True):
            pairs[who, number] += size
        known = matched(pairs)
        if not self._numbers:
            self.count = 0
        self._names = []
        for who in range(len(self._centroids)):
            if who not in known:
                known[who], self.count = self.count, self.count + 1
            self._names.append(known[who])
        self._due = round(sizes.sum() * _AGAIN)

    def _forget(self) -> None:
        """Add up the older half of each person's voices."""
        kept: list[tuple[npt.NDArray[np.float32], int, int]] = []
        for number in dict.fromkeys(self._numbers):
            own = [place for place, other in enumerate(self._numbers) if other == number]
            old = own[: max(1, len(own) // 2)]
            total = np.stack([self._sums[place] for place in old]).sum(axis=0)
            kept.append((total, sum(self._sizes[place] for place in old), number))
            kept += [(self._sums[place], self._sizes[place], number) for place in own[len(old) :]]
        self._sums = [total for total, _, _ in kept]
        self._sizes = [size for _, size, _ in kept]
        self._numbers = [number for _, _, number in kept]


def matched(shared: Counter[tuple[int, int]]) -> dict[int, int]:
    """Match each first with one second, beginning with the pairs that share most."""
    found: dict[int, int] = {}
    for (one, other), _ in shared.most_common():
        if one not in found and other not in found.values():
            found[one] = other
    return found
