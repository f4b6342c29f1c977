"""A deadline for work that may block: when it passes, a callback ends the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reflector_gpu.errors import EngineFailed


class Watchdog:
    """A thread that watches one piece of work at a time. `close` it."""

    def __init__(
        self, expired: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``expired`` is called in the watching thread, once for each deadline that passes.

        Raises:
            EngineFailed: there is no thread left.
        """
        self._expired = expired
        self._clock = clock
        self._changed = threading.Condition()
        self._deadline: float | None = None
        # When the thread looks next. It stays asleep when a deadline is lifted or moved to later:
        # waking it for every batch would cost more than a needless look.
        self._next_look = float("inf")
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise EngineFailed("The server has no thread left; try again later.") from error

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Call ``expired`` if the block takes longer, and never after it has ended."""
        with self._changed:
            self._deadline = self._clock() + seconds
            if self._deadline < self._next_look:
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
        # The callback's owner holds this watchdog. Without the cycle both are freed at once, and
        # so are the owner's open files.
        self._expired = _nothing

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = self._clock()
                if self._deadline is not None and self._deadline <= now:
                    self._deadline = None
                    self._expired()
                self._next_look = float("inf") if self._deadline is None else self._deadline
                self._changed.wait(None if self._deadline is None else self._deadline - now)


def _nothing() -> None:
    pass
