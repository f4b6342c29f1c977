"""How much of long files may go into one batch, as the workers' measured speed has it.

A batch that runs can not be interrupted, so a live request waits for the one in front of it.
Batches with work of long files are therefore kept short: a second of work, and a quarter of that
while somebody has been waiting live of late. Where a single piece takes longer than that, as the
long way through a decoder does on a GPU, others may join it for as long as that costs little time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

FILE_SECONDS = 1.0
"""What a batch with work of long files may take."""

CONTESTED_SECONDS = 0.25
"""The same while live requests come in."""

MEMORY_SECONDS = 30.0
"""How long a live request is remembered."""

PATIENCE = 1.25
"""What a batch may take in any case, by the time of a single piece."""

ROUND = 32
"""In as many batches one is a single piece and one has a second, to see how long they take now."""

_KEPT = 4  # batches of either kind; the fastest counts: others had no core to themselves
_TINY = 1e-9


class _Batch(NamedTuple):
    cost: float
    seconds: float


class Pace:
    """Learned from the batches with work of long files of one pool; shared by its threads."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, interruptible: bool = True
    ) -> None:
        """``interruptible``: whether batches have to be short at all."""
        self._clock = clock
        self._interruptible = interruptible
        self._singles: deque[_Batch] = deque(maxlen=_KEPT)
        self._several: deque[_Batch] = deque(maxlen=_KEPT)
        self._batches = 0
        self._last_live = float("-inf")

    @property
    def file_cost(self) -> float:
        """The padded cost that a batch of several pieces may have; 0 if it is to be a single one.

        What a batch takes is the line through a single piece and a batch of several, or through
        nothing until there was one. It is followed no further than to twice what was measured,
        and a batch that took too long makes the next one shorter, whatever the line says.
        """
        if not self._interruptible:
            return float("inf")
        turn = self._batches % ROUND
        if not self._singles or turn == ROUND // 2:
            return 0.0
        single = min(self._singles, key=_seconds_each)
        if turn == 0:
            return 2 * single.cost
        contested = self._clock() - self._last_live < MEMORY_SECONDS
        target = CONTESTED_SECONDS if contested else FILE_SECONDS
        allowed = max(target, PATIENCE * single.seconds)
        several = min(self._several, key=_seconds_each, default=single)
        room = (allowed - single.seconds) / _slope(single, several)
        most = 2 * max(batch.cost for batch in (single, *self._several))
        if self._several and self._several[-1].seconds > allowed:
            latest = self._several[-1]
            most = latest.cost * allowed / latest.seconds
        return max(0.0, min(single.cost + room, most))

    def worked(self, pieces: int, cost: float, seconds: float) -> None:
        """A batch of so many pieces, with work of long files and of padded ``cost``, took
        ``seconds``."""
        if cost <= 0:
            return  # of nothing there is nothing to learn
        self._batches += 1
        batch = _Batch(cost, seconds)
        if pieces == 1:
            self._singles.append(batch)
            return
        self._several.append(batch)
        for single in list(self._singles):
            if single.cost <= cost and single.seconds > seconds:
                self._singles.remove(single)  # what more work did not take, it would not either

    def live_arrived(self) -> None:
        self._last_live = self._clock()


def _seconds_each(batch: _Batch) -> float:
    return batch.seconds / batch.cost


def _slope(single: _Batch, several: _Batch) -> float:
    """What a unit of cost adds to a batch, in seconds: at most what it takes in a single one."""
    alone = max(_seconds_each(single), _TINY)
    if several.cost <= single.cost:
        return alone
    return min(max((several.seconds - single.seconds) / (several.cost - single.cost), _TINY), alone)
