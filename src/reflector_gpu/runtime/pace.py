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

_KEPT = 0.8  # of the past, at every batch


class Pace:
    """Measured over the batches of one pool; shared by its threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cost = 0.0
        self._seconds = 0.0
        self._last_live = float("-inf")

    @property
    def rate(self) -> float:
        """Cost that one worker gets done in a second; infinite until a batch was measured."""
        return self._cost / self._seconds if self._seconds else float("inf")

    @property
    def file_cost(self) -> float:
        """The padded cost that a batch with work of long files may have."""
        contested = self._clock() - self._last_live < MEMORY_SECONDS
        return self.rate * (CONTESTED_SECONDS if contested else FILE_SECONDS)

    def worked(self, cost: float, seconds: float) -> None:
        """A batch of padded ``cost`` took ``seconds``; recent batches count most."""
        self._cost = _KEPT * self._cost + cost
        self._seconds = _KEPT * self._seconds + seconds

    def live_arrived(self) -> None:
        self._last_live = self._clock()
