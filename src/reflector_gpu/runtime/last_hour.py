"""What a client has used within the last hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

HOUR = 3600.0


class LastHour:
    """What a client has used, minute by minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minutes: deque[tuple[float, float]] = deque()

    @property
    def seconds(self) -> float:
        while self._minutes and self._minutes[0][0] <= self._clock() - HOUR:
            self._minutes.popleft()
        return sum(seconds for _, seconds in self._minutes)

    def add(self, seconds: float) -> None:
        minute = self._clock() // 60 * 60
        if self._minutes and self._minutes[-1][0] == minute:
            seconds += self._minutes.pop()[1]
        if seconds:
            self._minutes.append((minute, seconds))

    def until_below(self, limit: float) -> float:
        """Seconds until less than ``limit`` has been used within an hour."""
        left = self.seconds
        for minute, seconds in self._minutes:
            left -= seconds
            if left < limit:
                return max(1.0, minute + HOUR - self._clock())
        return 1.0
