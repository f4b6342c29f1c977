"""A blocking iterator, run in a thread, as an async one."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_alive: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


class ThreadStream(Generic[T]):
    """Iterate ``items`` in a thread of its own, at most ``ahead`` items before the consumer.

    Must be closed: the thread then stops at its next item. What it blocks on (a `Spool`) has to
    be closed by its owner as well.
    """

    def __init__(self, items: Iterator[T], *, ahead: int, name: str) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | _End] = asyncio.Queue()
        self._room = threading.Semaphore(ahead)
        self._stopped = False
        thread = threading.Thread(target=self._pump, name=name, daemon=True)
        _alive.add(thread)
        thread.start()

    def __aiter__(self) -> ThreadStream[T]:
        return self

    async def __anext__(self) -> T:
        item = await self._queue.get()
        if isinstance(item, _End):
            self._queue.put_nowait(item)
            if item.error is not None:
                raise item.error
            raise StopAsyncIteration
        self._room.release()
        return item

    def close(self) -> None:
        self._stopped = True
        self._room.release()

    def _pump(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                self._room.acquire()
                if self._stopped:
                    break
                self._send(item)
            if isinstance(self._items, Generator):
                self._items.close()  # frees what it holds here and now, and in its own thread
        except BaseException as failure:  # noqa: BLE001  it is raised in the consumer
            error = failure
        self._send(_End(error))

    def _send(self, item: T | _End) -> None:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        except RuntimeError:
            self._stopped = True  # the loop is closed: nobody listens


def join_all(timeout: float) -> None:
    """Wait until the threads of closed streams have ended, ``timeout`` seconds at most.

    A thread inside a native library while the interpreter goes down ends the process with an
    abort.
    """
    deadline = time.monotonic() + timeout
    for thread in list(_alive):
        thread.join(max(0.0, deadline - time.monotonic()))
