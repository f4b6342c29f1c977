"""How fast workers work, and from that how much of long files may go into one batch.

A batch that runs can not be interrupted, so a live request waits for the one in front of it.
Batches with work of long files are therefore kept short: a second of work, and a quarter of that
while somebody has been waiting live of late.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FILE_SECONDS = 1.0
"""What a batch with work of long files may take."""

CONTESTED_SECONDS = 0.25
"""The same while live requests come in."""

MEMORY_SECONDS = 30.0
"""How long a live request is remembered."""

_ALIKE = 0.01  # of a variance, by the mean squared: too little to fit a line to
_KEPT = 0.8  # of the past, at every batch


class Pace:
    """Measured over the batches of one pool; shared by its threads."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, interruptible: bool = True
    ) -> None:
        """``interruptible``: whether batches have to be short at all."""
        self._clock = clock
        self._interruptible = interruptible
        self._batches = self._cost = self._seconds = 0.0
        self._squares = self._products = 0.0  # of costs, of costs and seconds
        self._last_live = float("-inf")

    @property
    def rate(self) -> float:
        """Cost that one worker gets done in a second; infinite until a batch was measured."""
        return self._cost / self._seconds if self._seconds else float("inf")

    @property
    def file_cost(self) -> float:
        """The padded cost that a batch with work of long files may have.

        Where a batch takes long whatever is in it, it may take that time again for what is: else
        the batches would shrink to nothing and hardly be over any sooner.
        """
        if not self._interruptible:
            return float("inf")
        contested = self._clock() - self._last_live < MEMORY_SECONDS
        target = CONTESTED_SECONDS if contested else FILE_SECONDS
        fixed, each = self._fitted()
        return max(target - fixed, fixed) / each if each else float("inf")

    def worked(self, cost: float, seconds: float) -> None:
        """A batch of padded ``cost`` took ``seconds``; recent batches count most."""
        self._batches = _KEPT * self._batches + 1
        self._cost = _KEPT * self._cost + cost
        self._seconds = _KEPT * self._seconds + seconds
        self._squares = _KEPT * self._squares + cost * cost
        self._products = _KEPT * self._products + cost * seconds

    def _fitted(self) -> tuple[float, float]:
        """Seconds that a batch takes for itself and for each unit of cost: a least squares line."""
        if not self._cost:
            return 0.0, 0.0
        spread = self._batches * self._squares - self._cost**2
        if spread > _ALIKE * self._cost**2:
            each = (self._batches * self._products - self._cost * self._seconds) / spread
            fixed = (self._seconds - each * self._cost) / self._batches
            if each > 0 and fixed > 0:
                return fixed, each
        return 0.0, self._seconds / self._cost

    def live_arrived(self) -> None:
        self._last_live = self._clock()
