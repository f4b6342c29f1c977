"""A line that several clients are on: somebody who calls, and others who join the call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from reflector_gpu.errors import Overloaded
from reflector_gpu.realtime.conversation import Line
from reflector_gpu.types import Samples

_MOST_UNREAD = 1024 * 1024  # characters of events that wait for somebody who has joined
_MOST_JOINED = 8
_RETRY_SECONDS = 30.0
_LAST_SECONDS = 2.0  # that those who joined get to read the last events
_NORMAL = 1000  # close code of RFC 6455
_TOO_SLOW = 1013


class SharedLine:
    """Fulfils `Line`. All get all events, and the session takes what any of them sends.

    It is the ``main`` line's conversation: this begins it and ends it.
    """

    def __init__(self, main: Line) -> None:
        self.stopping = main.stopping
        self.gone = main.gone
        self._main = main
        self._places = 0
        self._joined: set[_Joined] = set()
        self._ended = asyncio.Event()
        self._greeting: str | None = None
        """The first event, which those who join get, too."""
        self._said: asyncio.Queue[str | bytes] = asyncio.Queue(maxsize=1)
        self._receiving: asyncio.Task[str | bytes | Samples | None] | None = None
        self._waiting: asyncio.Task[str | bytes] | None = None
        self._main_is_next = False
        """Somebody who joined was heard last."""

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for somebody who joins.

        Raises:
            Overloaded: too many have joined.
        """
        if self._places >= _MOST_JOINED:
            raise Overloaded("Too many have joined this call.", retry_after=_RETRY_SECONDS)
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    async def join(self, line: Line) -> None:
        """Let somebody take part over ``line`` until they or the main line leave. They hold a
        `place`."""
        joined = _Joined(line)
        self._joined.add(joined)
        if self._greeting is not None:
            joined.tell(self._greeting)
        reading = asyncio.create_task(self._read(line))
        writing = asyncio.create_task(joined.write())
        ends = [asyncio.create_task(event.wait()) for event in (line.gone, self._ended)]
        try:
            await asyncio.wait([reading, writing, *ends], return_when=asyncio.FIRST_COMPLETED)
            if self._ended.is_set():
                joined.end()
                await asyncio.wait([writing], timeout=_LAST_SECONDS)
        finally:
            self._joined.discard(joined)
            tasks = [reading, writing, *ends]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await line.close(_TOO_SLOW if joined.slow else _NORMAL, "")

    async def receive(self) -> str | bytes | Samples | None:
        """What anybody sends next; None once the main line has left."""
        self._receiving = self._receiving or asyncio.create_task(self._main.receive())
        self._waiting = self._waiting or asyncio.create_task(self._said.get())
        await asyncio.wait((self._receiving, self._waiting), return_when=asyncio.FIRST_COMPLETED)
        if self._waiting.done() and not (self._receiving.done() and self._main_is_next):
            self._main_is_next = True
            said, self._waiting = self._waiting.result(), None
            return said
        self._main_is_next = False
        received, self._receiving = self._receiving, None
        return received.result()

    async def send(self, text: str) -> None:
        """Send an event to everybody. Only the main line is waited for."""
        self._greeting = self._greeting or text
        for joined in self._joined:
            joined.tell(text)
        await self._main.send(text)

    async def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Close the main line, and part the others from it."""
        self._ended.set()
        tasks = [task for task in (self._receiving, self._waiting) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._main.close(code, reason)

    async def _read(self, line: Line) -> None:
        while isinstance(received := await line.receive(), str | bytes):
            await self._said.put(received)


class _Joined:
    """Somebody who has joined, and the events that wait for them."""

    def __init__(self, line: Line) -> None:
        self.slow = False
        """Too much was left unread."""
        self._line = line
        self._unread = 0
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue()

    def tell(self, text: str) -> None:
        self._unread += len(text)
        if self._unread <= _MOST_UNREAD:
            self._waiting.put_nowait(text)
        elif not self.slow:
            self.slow = True
            self.end()

    def end(self) -> None:
        """Nothing else comes."""
        self._waiting.put_nowait(None)

    async def write(self) -> None:
        """Send what waits, until the end."""
        while (text := await self._waiting.get()) is not None:
            await self._line.send(text)
            self._unread -= len(text)
