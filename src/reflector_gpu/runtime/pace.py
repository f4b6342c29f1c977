"""How much of long files may go into one batch, as the workers' measured speed has it.

A batch that runs cannot be interrupted, so a live request waits for the one in front of it.
Batches with work of long files are therefore kept short: a second of work, and a quarter of that
while somebody has been waiting live of late. Where a single piece takes longer than that, as the
long way through a decoder does on a GPU, others may join it for as long as that costs little time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

FILE_SECONDS = 1.0
"""What a batch with work of long files may take."""

CONTESTED_SECONDS = 0.25
"""The same while live requests come in."""

MEMORY_SECONDS = 30.0
"""How long a live request is remembered."""

PATIENCE = 1.5
"""What a batch may take whatever the targets are, by the time of a single piece."""

ROUND = 32
"""Of as many batches two only measure: a single piece, and two together, however long they take."""

_TWO, _ONE = ROUND // 4, ROUND // 4 * 3  # whose turn that is
_KEPT = 4  # measurements of either kind
_ENOUGH = 2  # single pieces: the first may have had the machine to itself, or have warmed it up
_TINY = 1e-9


class _Batch(NamedTuple):
    cost: float
    seconds: float

    @property
    def seconds_each(self) -> float:
        return self.seconds / self.cost


class Pace:
    """Learned from the batches with work of long files of one pool; shared by its threads."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, interruptible: bool = True
    ) -> None:
        """``interruptible``: whether batches have to be short at all."""
        self._clock = clock
        self._interruptible = interruptible
        self._lock = threading.Lock()
        self._singles: deque[_Batch] = deque(maxlen=_KEPT)
        self._several: deque[_Batch] = deque(maxlen=_KEPT)
        self._batches = 0
        self._last_live = float("-inf")

    @property
    def file_cost(self) -> float:
        """The padded cost that a batch of several pieces may have; 0 if it is to be a single one.

        What a batch takes is read off the line through the usual single piece and the usual batch
        of several, where that is the dearer one, else in proportion to its cost. The line is
        followed no further than to twice the single piece, or the dearest of the latest batches
        that did not take too long.
        """
        if not self._interruptible:
            return float("inf")
        with self._lock:
            turn = self._batches % ROUND
            if len(self._singles) < _ENOUGH or turn == _ONE:
                return 0.0
            single = _usual(self._singles)
            if turn == _TWO:
                return 2 * single.cost  # or fewer, or more, where pieces differ in cost
            contested = self._clock() - self._last_live < MEMORY_SECONDS
            target = CONTESTED_SECONDS if contested else FILE_SECONDS
            allowed = max(target, PATIENCE * single.seconds)
            slope = single.seconds_each
            if self._several:
                several = _usual(self._several)
                if several.cost > single.cost:
                    slope = (several.seconds - single.seconds) / (several.cost - single.cost)
            room = (allowed - single.seconds) / max(slope, _TINY)
            short = [batch.cost for batch in self._several if batch.seconds <= allowed]
            return min(single.cost + room, 2 * max([single.cost, *short]))

    def worked(self, pieces: int, cost: float, seconds: float) -> None:
        """A batch of so many pieces, with work of long files and of padded ``cost``, took
        ``seconds``."""
        if cost <= 0:
            return  # of nothing there is nothing to learn
        with self._lock:
            self._batches += 1
            kind = self._singles if pieces == 1 else self._several
            kind.append(_Batch(cost, seconds))

    def live_arrived(self) -> None:
        self._last_live = self._clock()


def _usual(batches: Iterable[_Batch]) -> _Batch:
    """The middle one by speed, or the slower of two: others had to wait for a core, or had two."""
    in_order = sorted(batches, key=lambda batch: batch.seconds_each)
    return in_order[len(in_order) // 2]
