"""A deadline for work that may block: if it passes, somebody is told, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reflector_gpu.errors import EngineFailed


class Watchdog:
    """One thread that watches one piece of work after the other. `close` it."""

    def __init__(self, bite: Callable[[], None]) -> None:
        """``bite`` is called, by the watching thread, whenever a deadline passes.

        Raises:
            EngineFailed: there is no thread left.
        """
        self._bite = bite
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._wakes = float("inf")  # when the thread looks again: seldom, for waking it costs
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise EngineFailed("The server has no thread left; try again later.") from error

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Bite if what is inside takes longer; never once it is left."""
        with self._changed:
            self._deadline = time.monotonic() + seconds
            if self._deadline < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._deadline = None

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._bite = _nothing  # whose owner holds us: a cycle would keep what he has open

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._deadline is not None and self._deadline <= now:
                    self._deadline = None
                    self._bite()
                self._wakes = float("inf") if self._deadline is None else self._deadline
                self._changed.wait(None if self._deadline is None else self._deadline - now)


def _nothing() -> None:
    """What a watchdog does that is no longer there."""
