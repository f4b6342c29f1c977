"""When the audio of a turn has arrived, to measure how long after it the words are sent."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable

from reflector_gpu.types import SAMPLE_RATE

_STEP = SAMPLE_RATE // 10  # samples; a turn lasts minutes, so there are not many


class Arrivals:
    """The times at which samples of one turn arrived."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples = 0
        self._ends: list[int] = []
        self._times: list[float] = []

    def add(self, samples: int) -> None:
        """So many further samples have come."""
        self._samples += samples
        if not self._ends or self._samples - self._ends[-1] >= _STEP:
            self._ends.append(self._samples)
            self._times.append(self._clock())

    def since(self, second: float) -> float:
        """Seconds since that ``second`` of the turn had come."""
        if not self._times:
            return 0.0
        found = bisect_left(self._ends, second * SAMPLE_RATE)
        return self._clock() - self._times[min(found, len(self._times) - 1)]
