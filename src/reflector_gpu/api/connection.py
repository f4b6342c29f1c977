"""Ends work for a client when it is done, when it is late, or when the client leaves."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reflector_gpu.api.errors import error_body, record_failure
from reflector_gpu.errors import (
    ClientTooSlow,
    DeadlineExceeded,
    InvalidRequest,
    ReflectorError,
    ShuttingDown,
    TooLarge,
)
from reflector_gpu.formats.openai import STREAM_END
from reflector_gpu.formats.response_format import EVENT_STREAM
from reflector_gpu.runtime.admission import Permit
from reflector_gpu.runtime.arrivals import STEADY_RATE

T = TypeVar("T")

KEEP_ALIVE_SECONDS = 15.0
"""A stream sends something at least this often, because proxies close silent connections."""

PATIENCE_SECONDS = 20.0
"""How long a stream's status waits for its first event, in case that is a failure."""

_LAST_SECONDS = 5.0  # that a client gets to read why its stream ends early

_QUICK_SECONDS = 0.2  # after which the client's presence is watched; most work is done by then

TIMEOUT = "X-Request-Timeout"
"""The header that says how many seconds the client will wait."""

SLOWEST_RATE = 1_000.0
"""Slowest upload in bytes a second: less than any encoded speech, or any usable connection.

Uploads slower than `STEADY_RATE` are read as long as nobody else needs their places.
"""


class Deadline:
    """When a request has to be answered."""

    def __init__(self, request: Request, longest: float) -> None:
        """``longest`` is the server's own limit in seconds. The client may ask for less.

        Raises:
            InvalidRequest: the header is not a number of seconds.
        """
        self._seconds = min(longest, _asked(request))
        self._at = asyncio.get_running_loop().time() + self._seconds

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Cancel the body of the ``with`` when the time is over.

        Raises:
            DeadlineExceeded
        """
        timer = asyncio.timeout_at(self._at)
        try:
            async with timer:
                yield
        except TimeoutError as error:
            if not timer.expired() or isinstance(error, ReflectorError):
                raise
            raise DeadlineExceeded(
                f"The request was not done within its {self._seconds:g} seconds."
            ) from None


async def body_of(
    request: Request,
    patience: float,
    permit: Permit,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[bytes, None]:
    """The request's body as it arrives. If that is slow, others may get the place of ``permit``.

    Raises:
        ClientTooSlow: nothing came for ``patience`` seconds, or less than `SLOWEST_RATE`, or
            another request needed the place.
        ClientDisconnect: the client left.
    """
    began, got, more_comes = clock(), 0, True
    waiting: asyncio.Timeout | None = None
    left = False

    def leave() -> None:
        nonlocal left
        left = True
        if waiting:
            waiting.reschedule(0)

    with permit.arriving(lambda: got, leave):
        while more_comes:
            try:
                async with asyncio.timeout(patience) as waiting:
                    message = await request.receive()
            except TimeoutError:
                if not left:
                    raise ClientTooSlow(
                        f"No byte of the request came for {patience:g} seconds; send it again."
                    ) from None
            waiting = None
            if left:
                raise ClientTooSlow(
                    f"Less than {STEADY_RATE:g} bytes of the request came a second, and others "
                    "needed its place; send it again."
                )
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            data, more_comes = message.get("body", b""), message.get("more_body", False)
            got += len(data)
            check_rate(got, clock() - began, patience, "send it again")
            if data:  # the end of a body may come by itself
                yield data


def check_rate(got: int, seconds: float, patience: float, advice: str) -> None:
    """Check whether ``got`` bytes are enough after ``seconds``, of which ``patience`` are for free.

    ``advice`` is what a client that is too slow can do.

    Raises:
        ClientTooSlow
    """
    if got < SLOWEST_RATE * (seconds - patience):
        raise ClientTooSlow(
            f"Less than {SLOWEST_RATE:g} bytes of the request came a second; {advice}."
        )


async def read_body(request: Request, patience: float, permit: Permit, most: int) -> bytes:
    """Read a small body at once.

    Raises:
        TooLarge: there are more than ``most`` bytes.
        ClientTooSlow, ClientDisconnect: as in `body_of`.
    """
    body = bytearray()
    async with aclosing(body_of(request, patience, permit)) as pieces:
        async for data in pieces:
            body += data
            if len(body) > most:
                raise TooLarge(f"The body is larger than {most} bytes.")
    return bytes(body)


async def unless_disconnected(request: Request, work: Coroutine[None, None, T]) -> T:
    """The result of ``work``, which is cancelled when the client leaves.

    The request's body must have been read.

    Raises:
        ClientDisconnect: the client left first.
    """
    return await _race(request.receive, work)


async def cancelled(task: asyncio.Future[T]) -> None:
    """Cancel ``task`` and wait until it has cleaned up."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # asyncio warns of errors that nobody has looked at


async def first_event(
    events: AsyncGenerator[str, None], resources: AsyncExitStack
) -> asyncio.Future[str | None]:
    """A task for the first of ``events``, done unless that takes over `PATIENCE_SECONDS`.

    A stream's status is sent before its events, so a failure this early still has one.
    ``resources`` stop the work when the response ends early.
    """
    first = asyncio.ensure_future(_next(events))
    resources.push_async_callback(events.aclose)
    resources.push_async_callback(cancelled, first)
    await asyncio.wait({first}, timeout=PATIENCE_SECONDS)
    if first.done():
        first.result()
    return first


class EventStream(Response):
    """Server-sent events. A failure midway is the last of them, because the status has been sent.

    ``resources`` are freed however the response ends.
    """

    media_type = EVENT_STREAM

    def __init__(
        self,
        first: asyncio.Future[str | None],
        events: AsyncIterator[str],
        resources: AsyncExitStack,
        deadline: Deadline,
    ) -> None:
        """``first`` is what `first_event` made of ``events``."""
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._events = events
        self._resources = resources
        self._deadline = deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: ReflectorError | None = None
        async with self._resources:
            try:
                async with self._deadline.kept():
                    await _race(receive, self._send_all(send))
            except ClientDisconnect:
                return  # the answer had begun, and a client may leave in the middle of it
            except ReflectorError as error:
                failure = error
            except asyncio.CancelledError:
                stopping = ShuttingDown("The server is shutting down.")
                record_failure(scope, stopping)
                await _say_last(send, stopping)
                raise
        if failure:
            record_failure(scope, failure)
            await _say_last(send, failure)

    async def _send_all(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async with aclosing(_kept_alive(self._first, self._events)) as texts:
            async for text in texts:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": STREAM_END.encode()})


async def _say_last(send: Send, error: ReflectorError) -> None:
    """End a stream with ``error``. A client that does not read is not waited for."""
    text = f"data: {error_body(error).model_dump_json()}\n\n{STREAM_END}"
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_SECONDS):
            await send({"type": "http.response.body", "body": text.encode()})


def _asked(request: Request) -> float:
    header = request.headers.get(TIMEOUT)
    if header is None:
        return math.inf
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidRequest(
            f"The header {TIMEOUT} must be a number of seconds above 0.", param=TIMEOUT
        )
    return seconds


async def _kept_alive(
    upcoming: asyncio.Future[str | None], events: AsyncIterator[str]
) -> AsyncGenerator[str, None]:
    """The ``upcoming`` event and the others, with a comment whenever none came for a while
    (WHATWG HTML 9.2.7)."""
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield ": still working\n\n"
                continue
            event = upcoming.result()
            if event is None:
                return
            yield event
            upcoming = asyncio.ensure_future(_next(events))
    finally:
        await cancelled(upcoming)


async def _next(events: AsyncIterator[str]) -> str | None:
    return await anext(events, None)


async def _race(receive: Receive, work: Coroutine[None, None, T]) -> T:
    """The result of ``work``, which is cancelled when the client leaves.

    Most work is done before the client's presence is watched, so it gets no task of its own. As in
    `asyncio.timeout`, the count of cancellations tells one from outside from our own.

    Raises:
        ClientDisconnect: the client left first.
    """
    loop, working = asyncio.get_running_loop(), asyncio.current_task()
    assert working
    before = working.cancelling()
    watcher: asyncio.Task[None] | None = None
    left = False

    async def watch() -> None:
        nonlocal left
        await _disconnected(receive)
        left = True
        working.cancel()

    def begin() -> None:
        nonlocal watcher
        watcher = loop.create_task(watch())

    timer = loop.call_later(_QUICK_SECONDS, begin)
    try:
        result = await work
        if left:  # the work did not let itself be cancelled
            raise ClientDisconnect
        return result
    except asyncio.CancelledError as error:
        if left and working.cancelling() <= before + 1:
            raise ClientDisconnect from error
        raise
    finally:
        timer.cancel()
        if watcher:
            await cancelled(watcher)
        if left:
            working.uncancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
