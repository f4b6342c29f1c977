"""Whether a pool can work yet: how many of its workers are ready, and why the others are not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy

from reflector_gpu.errors import ReflectorError


class Readiness:
    """Supervisors report what becomes of their workers; the pool reads it, or waits for a change.

    Thread-safe.
    """

    def __init__(self, workers: int) -> None:
        self.closing = threading.Event()
        self._workers = workers
        self._changed = threading.Condition()
        self._listeners: list[Future[None]] = []
        self._ready = 0
        self._idle = 0
        self._failing = 0
        self._error: ReflectorError | None = None

    @property
    def ready(self) -> int:
        return self._ready

    @property
    def idle(self) -> int:
        """How many workers are unloaded until there is work."""
        return self._idle

    @property
    def error(self) -> ReflectorError | None:
        """Why the pool cannot work: the latest error, if every worker has failed to load.

        Each call returns a copy, because raising an error changes it.
        """
        return copy(self._error) if self._failing == self._workers else None

    @property
    def settled(self) -> bool:
        """Whether there is no need to wait: a worker is ready or idle, all failed, or all end."""
        return bool(self._ready or self._idle or self.error or self.closing.is_set())

    def joined(self) -> None:
        """A worker has loaded its engine."""
        with self._change():
            self._ready += 1

    def left(self) -> None:
        """A worker that was ready has ended."""
        with self._change():
            self._ready -= 1

    def unloaded(self) -> None:
        """A worker that was ready has been ended until there is work again."""
        with self._change():
            self._ready -= 1
            self._idle += 1

    def woke(self) -> None:
        """There is work for a worker that was idle; it loads."""
        with self._change():
            self._idle -= 1

    def failed(self, error: ReflectorError) -> None:
        """A worker could not load. It counts as failing until it `recovered`."""
        with self._change():
            self._failing += 1
            self._error = error

    def recovered(self) -> None:
        """A worker that was failing has loaded."""
        with self._change():
            self._failing -= 1

    def close(self) -> None:
        with self._change():
            self.closing.set()

    def wait_settled(self, timeout: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.settled, timeout)

    def next_change(self) -> Future[None]:
        """A future that is done as soon as any of this changes."""
        with self._changed:
            future: Future[None] = Future()
            self._listeners.append(future)
            return future

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()
            listeners, self._listeners = self._listeners, []
        for future in listeners:
            if future.set_running_or_notify_cancel():
                future.set_result(None)
