"""Those who watch jobs. Each of them takes a connection for as long as a job lasts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from reflector_gpu.errors import Overloaded
from reflector_gpu.jobs.allowance import Allowance

_RETRY_SECONDS = 60.0
_ADVICE = "End one, or GET the jobs every few seconds instead."


class Watchers:
    """The watchers at this server. For one event loop."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._open: Counter[str] = Counter()

    @contextmanager
    def watching(self, owner: str) -> Iterator[None]:
        """One stream of events of ``owner``.

        Raises:
            Overloaded: there are as many as there may be.
        """
        if self._open[owner] >= self._allowance.key.streams:
            raise Overloaded(
                f"Your key has {self._open[owner]} event streams of jobs at this server, and gets "
                f"no more. {_ADVICE}",
                retry_after=_RETRY_SECONDS,
            )
        if self._open.total() >= self._allowance.everybody.streams:
            raise Overloaded(
                f"The server has {self._open.total()} event streams of jobs, which is its limit. "
                f"{_ADVICE}",
                retry_after=_RETRY_SECONDS,
            )
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
