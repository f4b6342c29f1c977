"""Threads that make items before they are asked for. Idle threads are kept for later work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

from reflector_gpu.errors import ReflectorError, release_frames

T = TypeVar("T")

SPARE_THREADS = 8
"""Threads that are kept for later: to start one takes longer than to decode a short clip."""

_SPARE = "spare"
"""The name of a thread that waits for work."""


class Crew:
    """Threads that take one piece of work after the other, as many as there are pieces."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None], str]] = SimpleQueue()
        self._changed = threading.Condition()
        self._working = 0
        self._waiting = 0

    def run(self, work: Callable[[], None], name: str) -> None:
        """Begin ``work`` now, in a thread that has this ``name`` until the work ends."""
        with self._changed:
            if self._waiting:
                self._waiting -= 1
            else:
                # Another thread that has just become free may take the work instead of this one.
                threading.Thread(target=self._serve, name=_SPARE, daemon=True).start()
            self._working += 1
        self._jobs.put((work, name))

    def join(self, timeout: float) -> None:
        """Wait until nobody works, ``timeout`` seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._working, timeout)

    def _serve(self) -> None:
        thread = threading.current_thread()
        while True:
            work, thread.name = self._jobs.get()
            work()
            del work  # and with it what it holds
            thread.name = _SPARE
            with self._changed:
                self._working -= 1
                self._changed.notify_all()
                if self._waiting >= SPARE_THREADS:
                    return
                self._waiting += 1


crew = Crew()


def join_all(timeout: float) -> None:
    """Wait until the threads of closed streams have ended their work, ``timeout`` seconds at most.

    A thread inside a native library while the interpreter goes down ends the process with an
    abort.
    """
    crew.join(timeout)


@dataclass(frozen=True, slots=True)
class End:
    """Comes after the last item, and has the error that ended them, if one did."""

    error: BaseException | None

    @classmethod
    def by(cls, error: BaseException | None) -> End:
        """The end that ``error`` brought. One of ours loses its traceback, which would keep alive
        what the thread worked on. Other errors are bugs, and keep theirs for the log."""
        if isinstance(error, ReflectorError):
            release_frames(error)
        return cls(error)


def prefetched(items: Iterator[T], *, after: int, ahead: int) -> Iterator[T]:
    """``items``. After the first ``after`` of them, a thread makes up to ``ahead`` in advance.

    Producer and consumer then have a core each. Few items are not worth a thread.
    """
    yield from islice(items, after)
    for item in islice(items, 1):  # none, where there were few
        yield from _made_ahead(item, items, ahead)


def _made_ahead(first: T, items: Iterator[T], ahead: int) -> Iterator[T]:
    """``first``, and then ``items``, of which a thread makes up to ``ahead`` in advance."""
    made: SimpleQueue[T | End] = SimpleQueue()
    room = threading.Semaphore(ahead)
    stopped = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    break
                made.put(item)
            if isinstance(items, Generator):
                items.close()
        except BaseException as failure:  # noqa: BLE001  it is raised in the consumer
            error = failure
        made.put(End.by(error))

    crew.run(make, "prefetch")
    try:
        yield first
        while not isinstance(found := made.get(), End):
            room.release()
            yield found
        if found.error is not None:
            raise found.error
    finally:
        stopped.set()
        room.release()
