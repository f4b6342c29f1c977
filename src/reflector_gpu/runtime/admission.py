"""How much work is taken on at once; what goes beyond is told when to come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from reflector_gpu.errors import Overloaded
from reflector_gpu.types import Priority

_SMOOTHING = 0.2  # weight of the newest request in the average
_FIRST_GUESS = 5.0  # seconds, until a request has been measured


class Admission:
    """Permits for requests, counted apart for live and file work. For one event loop."""

    def __init__(
        self, limits: Mapping[Priority, int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._taken = dict.fromkeys(Priority, 0)
        self._seconds = dict.fromkeys(Priority, _FIRST_GUESS)

    def taken(self, priority: Priority) -> int:
        """Requests of this class that are being worked on."""
        return self._taken[priority]

    @contextmanager
    def permit(self, priority: Priority) -> Iterator[None]:
        """Hold one place for as long as the request lasts.

        Raises:
            Overloaded: all places are taken; ``retry_after`` is when one should become free,
                judged by how long requests took of late.
        """
        if self._taken[priority] >= self._limits[priority]:
            raise Overloaded(
                f"The server is working on {self._taken[priority]} such requests, which is its "
                "limit; try again later.",
                retry_after=max(1.0, self._seconds[priority] / self._limits[priority]),
            )
        self._taken[priority] += 1
        began = self._clock()
        try:
            yield
        finally:
            self._taken[priority] -= 1
            took = self._clock() - began
            self._seconds[priority] += _SMOOTHING * (took - self._seconds[priority])
