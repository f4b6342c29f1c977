"""Recordings that arrive as slowly as they are spoken, in no time."""

from __future__ import annotations

from tests.waiting import until


class ArrivalClock:
    """The clock of one `Spool`. It stands still but for what passes while bytes are awaited."""

    def __init__(self) -> None:
        self._now = 0.0
        self._looks = self._seen = 0

    def __call__(self) -> float:
        """The time, which a spool asks for when a wait begins and when it ends."""
        self._looks += 1
        return self._now

    def awaited(self, seconds: float) -> None:
        """Have ``seconds`` pass in which a reader waits for bytes that have not been sent yet."""
        until(lambda: self._looks > self._seen and self._looks % 2)
        self._seen = self._looks
        self._now += seconds
