"""Which workers of a pool can work, and why the others cannot."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy

from reflector_gpu.errors import ReflectorError


class Roster:
    """Kept by the supervisors of a pool, read by whoever waits for it. Thread-safe."""

    def __init__(self, workers: int) -> None:
        self.closing = threading.Event()
        self._workers = workers
        self._changed = threading.Condition()
        self._listeners: list[Future[None]] = []
        self._ready = 0
        self._resting = 0
        self._failing = 0
        self._error: ReflectorError | None = None

    @property
    def ready(self) -> int:
        return self._ready

    @property
    def resting(self) -> int:
        """Workers that are unloaded until there is work."""
        return self._resting

    @property
    def error(self) -> ReflectorError | None:
        """Why no worker loads, once each has failed to. Whoever raises it has his own copy."""
        return copy(self._error) if self._failing == self._workers else None

    @property
    def settled(self) -> bool:
        """Whether a worker can work, or will when there is work, or none can."""
        return bool(self._ready or self._resting or self.error or self.closing.is_set())

    def joined(self) -> None:
        with self._change():
            self._ready += 1

    def left(self) -> None:
        with self._change():
            self._ready -= 1

    def rests(self) -> None:
        with self._change():
            self._ready -= 1
            self._resting += 1

    def wakes(self) -> None:
        with self._change():
            self._resting -= 1

    def fails(self, error: ReflectorError) -> None:
        """A worker has begun to fail at loading."""
        with self._change():
            self._failing += 1
            self._error = error

    def recovers(self) -> None:
        with self._change():
            self._failing -= 1

    def close(self) -> None:
        with self._change():
            self.closing.set()

    def wait_settled(self, timeout: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.settled, timeout)

    def next_change(self) -> Future[None]:
        """Done when anything about the workers changes."""
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
