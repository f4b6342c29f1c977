"""Requests whose bytes are still arriving, and which of them may have to leave for being slow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

H = TypeVar("H")

STEADY_RATE = 32_000.0
"""Bytes a second of a sender who may stay: what uncompressed speech takes while it is spoken."""

_GRACE_SECONDS = 5.0  # in which nobody is called slow


@dataclass(frozen=True, slots=True, eq=False)
class Arrival(Generic[H]):
    """The bytes that come for ``holder``."""

    holder: H
    received: Callable[[], float]
    leave: Callable[[], None]
    began: float

    def rate(self, now: float) -> float:
        """Bytes a second; any number of them at first."""
        passed = now - self.began
        return self.received() / passed if passed > _GRACE_SECONDS else math.inf


class Arrivals(Generic[H]):
    """Everything that comes in for the holders of places."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._arrivals: set[Arrival[H]] = set()

    @contextmanager
    def arriving(
        self, holder: H, received: Callable[[], float], leave: Callable[[], None]
    ) -> Iterator[None]:
        """The context in which bytes arrive; ``received`` says how many have. `end` calls
        ``leave``."""
        arrival = Arrival(holder, received, leave, self._clock())
        self._arrivals.add(arrival)
        try:
            yield
        finally:
            self._arrivals.discard(arrival)

    def slowest(self) -> Arrival[H] | None:
        """What comes slowest, if that is slower than `STEADY_RATE`."""
        now = self._clock()
        found = min(self._arrivals, key=lambda one: one.rate(now), default=None)
        return found if found and found.rate(now) < STEADY_RATE else None

    def end(self, arrival: Arrival[H]) -> None:
        """Have it leave."""
        self._arrivals.discard(arrival)
        arrival.leave()
