"""Decoders that are threads of this process, for platforms and tests that have nothing better."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import Told
from reflector_gpu.decoding.prefetching import End, crew, join_all
from reflector_gpu.errors import ShuttingDown, Unavailable

T = TypeVar("T")

_AHEAD = 4  # messages, most of them chunks of speech
_LAST_BLOCK_SECONDS = 2.0  # what a thread may need to see that it has been stopped


class ThreadDecoders:
    """Implements `Decoders`. A recording that crashes FFmpeg ends the program."""

    deaths = 0

    def start(self) -> None:
        """There is nothing to get ready."""

    async def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        stopped = False

        def passed(_: float) -> None:
            if stopped:
                raise ShuttingDown("Nobody waits for this recording any more.")

        told = ThreadStream(task.run(spool.reader(), output, passed), ahead=_AHEAD, name="decode")
        try:
            async for message in told:
                yield message
        except MemoryError as error:
            raise Unavailable("The server is short of memory; try again later.") from error
        finally:
            stopped = True
            told.close()

    async def close(self) -> None:
        await asyncio.to_thread(join_all, _LAST_BLOCK_SECONDS)


class ThreadStream(Generic[T]):
    """Iterates ``items`` in a thread, at most ``ahead`` of the consumer. No item may be None.

    Must be closed: the thread then stops at its next item. What it blocks on (a `Spool`) has to
    be closed by its owner as well.
    """

    def __init__(
        self,
        items: Iterator[T],
        *,
        ahead: int,
        name: str,
    ) -> None:
        self.news = asyncio.Event()
        """Set whenever there may be more to take."""
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._made: deque[T] = deque()
        self._end: End | None = None
        self._room = threading.Semaphore(ahead)
        self._told = False
        self._stopped = False
        crew.run(self._pump, name)

    @property
    def ended(self) -> bool:
        """Whether everything has been taken, and no error is left to raise."""
        return self._end is not None and self._end.error is None and not self._made

    def taken(self) -> T | None:
        """The next item, or None if there is none yet. Raises the error that ended the items."""
        end = self._end  # read first, so that no item that came before it is missed
        if self._made:
            self._room.release()
            return self._made.popleft()
        if end is not None and end.error is not None:
            raise end.error
        return None

    def __aiter__(self) -> ThreadStream[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            self.news.clear()
            item = self.taken()
            if item is not None:
                return item
            if self.ended:
                raise StopAsyncIteration
            await self.news.wait()

    def close(self) -> None:
        self._stopped = True
        self._room.release()

    def _pump(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                self._room.acquire()
                if self._stopped or self._loop.is_closed():
                    break
                self._made.append(item)
                self._wake()
            if isinstance(self._items, Generator):
                self._items.close()  # frees what it holds here and now, and in its own thread
        except BaseException as failure:  # noqa: BLE001  it is raised in the consumer
            error = failure
        self._end = End.by(error)
        self._wake()

    def _wake(self) -> None:
        """Wake the consumer, unless it is about to wake anyway."""
        if self._told:
            return
        self._told = True
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._told = False
        self.news.set()
