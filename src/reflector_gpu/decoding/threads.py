"""Decoders that are threads of this process, for platforms and tests that have nothing better."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Generic, TypeVar

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import Told
from reflector_gpu.errors import ReflectorError, ShuttingDown, Unavailable, release_frames

T = TypeVar("T")

SPARE_THREADS = 8
"""Threads that are kept for later: to start one takes longer than to decode a short clip."""

_SPARE = "spare"
"""The name of a thread that waits for work."""


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


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def _without_frames(error: BaseException) -> BaseException:
    """An error of ours without its traceback, which would keep alive what the thread worked on.
    Other errors are bugs, and keep theirs for the log."""
    if isinstance(error, ReflectorError):
        release_frames(error)
    return error


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
        self._end: _End | None = None
        self._room = threading.Semaphore(ahead)
        self._told = False
        self._stopped = False
        _crew.run(self._pump, name)

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
            error = _without_frames(failure)
        self._end = _End(error)
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


def prefetched(items: Iterator[T], *, after: int, ahead: int) -> Iterator[T]:
    """``items``. After the first ``after`` of them, a thread makes up to ``ahead`` in advance.

    Producer and consumer then have a core each. Few items are not worth a thread.
    """
    yield from islice(items, after)
    for item in islice(items, 1):  # none, where there were few
        yield from _made_ahead(item, items, ahead)


def _made_ahead(first: T, items: Iterator[T], ahead: int) -> Iterator[T]:
    """``first``, and then ``items``, of which a thread makes up to ``ahead`` in advance."""
    made: SimpleQueue[T | _End] = SimpleQueue()
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
            error = _without_frames(failure)
        made.put(_End(error))

    _crew.run(make, "prefetch")
    try:
        yield first
        while not isinstance(found := made.get(), _End):
            room.release()
            yield found
        if found.error is not None:
            raise found.error
    finally:
        stopped.set()
        room.release()


class _Crew:
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


_crew = _Crew()


def join_all(timeout: float) -> None:
    """Wait until the threads of closed streams have ended their work, ``timeout`` seconds at most.

    A thread inside a native library while the interpreter goes down ends the process with an
    abort.
    """
    _crew.join(timeout)
