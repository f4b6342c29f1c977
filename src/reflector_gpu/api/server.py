"""Uvicorn with limits on how many connections there are, and how long each may be silent.

Uvicorn waits for ever for the head of a request, and for a client that does not read its answer.
So a few hundred silent clients would take every file descriptor of the process.
"""

from __future__ import annotations

import asyncio
import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from reflector_gpu.api.errors import error_response
from reflector_gpu.api.websocket_connection import (
    MOST_BYTES,
    SLOWEST_READER,
    WebSocketConnection,
)
from reflector_gpu.errors import InvalidRequest, ReflectorError, TooLarge, Unavailable
from reflector_gpu.settings import Settings

logger = logging.getLogger(__name__)

_BACKLOG = 128  # connections that may wait to be accepted

_REST_SECONDS = 30.0
"""How long a client may go on sending a body after its request has been answered."""

_GRACE_SECONDS = 0.1  # in which a silent connection is not closed to make room for others

_SELDOM_SECONDS = 60.0  # between two lines of the log that say the same

_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Times are in seconds."""

    most: int
    head: float
    """From the connection, or from the first byte of a further request, to the end of its head."""
    idle: float
    """Between two requests."""
    write: float
    """For a client that does not read, or reads less than `SLOWEST_READER`."""

    @classmethod
    def of(cls, settings: Settings) -> ConnectionLimits:
        """Half of the files that the process may open are for connections, at most. Recordings,
        pipes and workers need the others."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = math.inf if files == resource.RLIM_INFINITY else max(1, files // 2)
        return cls(
            most=int(min(settings.connections, most)),
            head=settings.header_seconds,
            idle=settings.keep_alive_seconds,
            write=settings.write_seconds,
        )


class Config(uvicorn.Config):
    """Uvicorn's configuration for our app."""

    def __init__(self, app: FastAPI, limits: ConnectionLimits, shutdown_seconds: float) -> None:
        super().__init__(
            app,
            http=Connection,
            ws=WebSocketConnection,
            ws_max_size=MOST_BYTES,
            ws_per_message_deflate=False,  # it takes memory for each session, and audio is noise
            log_config=None,
            access_log=False,  # the app logs requests, with their id and duration
            server_header=False,
            proxy_headers=False,  # the peer's address decides who needs a key: `api.access`
            backlog=_BACKLOG,
            timeout_graceful_shutdown=math.ceil(shutdown_seconds),
        )
        self.limits = limits
        self.full = Seldom()
        self.no_files = Seldom()


class Server(uvicorn.Server):
    """Uvicorn's server. Without free file descriptors, it makes room and does not flood the log."""

    config: Config

    async def startup(self, sockets: Any = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        await super().startup(sockets)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, message = context.get("exception"), str(context.get("message"))
        if self.should_exit and "._start_serving(" in message:
            return  # it could accept nothing and tries again after a second, but has been closed
        if not (isinstance(error, OSError) and "accept() out of" in message):
            loop.default_exception_handler(context)
            return
        # asyncio says so for each connection that it could accept, many times a second.
        connections = self.server_state.connections
        self.config.no_files(
            "New connections wait, because no file can be opened (%s): %d connections are open; "
            "allow more files with 'ulimit -n'",
            error.strerror,
            len(connections),
        )
        for connection in dispensable(connections, loop.time()):
            connection.give_way()


class Seldom:
    """Logs a warning that may occur often, at most once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._again = -math.inf

    def __call__(self, message: str, *values: object) -> None:
        if self._clock() >= self._again:
            self._again = self._clock() + _SELDOM_SECONDS
            logger.warning(message, *values)


class _Phase(Enum):
    """What a connection is in the middle of."""

    HEAD = auto()
    """The head of a request is yet to come, or to end."""
    WORK = auto()
    """A request is being read or answered; the app sees to it that this ends."""
    REST = auto()
    """The request has been answered, and the rest of its body still comes."""
    IDLE = auto()
    """Nothing has come since the last request."""
    UNREAD = auto()
    """The client has to read before anything else happens."""


_WAITING = (_Phase.HEAD, _Phase.REST, _Phase.IDLE)
"""Phases in which a connection gives way to others."""


class Connection(H11Protocol):
    """One connection, which is closed if it stays in a phase for too long."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.since = 0.0
        """When its phase began."""
        self._limits = config.limits
        self._full = config.full
        self._phase: _Phase | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0

    # What asyncio and uvicorn call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # no datagrams
        super().connection_made(transport)
        self._look()
        if len(self.connections) > self._limits.most:
            self.loop.call_later(_GRACE_SECONDS, self._make_room)

    def data_received(self, data: bytes) -> None:
        if self.waits:
            self.app = _no_room if self._is_crowded() else self.config.loaded_app
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 cannot read, in the form of all errors. Called while it is handled."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = error_response(_refusal(sys.exception() or ValueError(msg)))
            headers = [*response.raw_headers, (b"connection", b"close")]
            head = h11.Response(status_code=response.status_code, headers=headers)
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle:  # the body is malformed, and the app has begun to read it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._close()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing: `_look` has a timer of its own, which data does not reset."""

    def shutdown(self) -> None:
        super().shutdown()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _should_upgrade(self) -> bool:
        """Whether to make a WebSocket of it. If there is no room, it is answered as a request."""
        return self.app is not _no_room and super()._should_upgrade()

    # How long it may take

    def _look(self) -> None:
        """Notice what the connection is in the middle of, and when that has to be over."""
        if self not in self.connections:  # it is lost, or another protocol's
            self._stop_timer()
            return
        phase = self._current()
        if phase is self._phase:
            return
        self._phase = phase
        self.since = self.loop.time()
        self._stop_timer()
        if phase is _Phase.HEAD:
            self._after(self._limits.head, self._refuse_head)
        elif phase is _Phase.IDLE:
            self._after(self._limits.idle, self._close)
        elif phase is _Phase.REST:
            self._after(_REST_SECONDS, self._close)
        elif phase is _Phase.UNREAD:
            self._unread = self.transport.get_write_buffer_size()
            self._after(self._limits.write, self._check_reader)

    def _current(self) -> _Phase:
        if self.transport.is_closing() or self.flow.write_paused:
            return _Phase.UNREAD
        if self.cycle and not self.cycle.response_complete:
            return _Phase.WORK
        if self.conn.their_state is h11.SEND_BODY:
            return _Phase.REST
        return _Phase.IDLE if self.cycle and not self.conn.trailing_data[0] else _Phase.HEAD

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self.transport.close()
        self._look()

    def _refuse_head(self) -> None:
        if self.conn.trailing_data[0]:  # a client that has sent nothing gets no answer
            self.transport.write(_TIMEOUT)
        self._close()

    def _check_reader(self) -> None:
        """Break off the connection unless the client has read enough since the last time."""
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < self._limits.write * SLOWEST_READER:
            self.transport.abort()
            return
        self._unread = unread
        self._after(self._limits.write, self._check_reader)

    # Room for others

    @property
    def waits(self) -> bool:
        """Whether it has no request, so that nothing is lost when it is closed."""
        return self._phase in _WAITING

    @property
    def rests(self) -> bool:
        """Whether its request has been answered before all of it had come."""
        return self._phase is _Phase.REST

    def give_way(self) -> None:
        self.transport.abort()
        self._look()

    def _make_room(self) -> None:
        """Close the connection that has waited longest, if there are too many."""
        idle = dispensable(self.connections, self.loop.time())
        if idle and len(self.connections) > self._limits.most:
            self._full(
                "All %d connections are in use; those that wait for a request make room for others",
                self._limits.most,
            )
            min(idle, key=lambda other: other.since).give_way()

    def _is_crowded(self) -> bool:
        """Whether all other connections that may be have requests."""
        if len(self.connections) <= self._limits.most:
            return False
        busy = [one for one in self.connections if not (isinstance(one, Connection) and one.waits)]
        return len(busy) >= self._limits.most


def dispensable(connections: Iterable[object], now: float) -> list[Connection]:
    """Those of the ``connections`` that have no request, though there was time to send one.

    Those that still send the body of an answered request are among them only if there are no
    others: their clients may not have read the answer.
    """
    found = [
        one
        for one in connections
        if isinstance(one, Connection) and one.waits and now - one.since >= _GRACE_SECONDS
    ]
    return [one for one in found if not one.rests] or found


def _refusal(problem: BaseException) -> ReflectorError:
    """What a client is told that has sent no HTTP, or too long a head."""
    if getattr(problem, "error_status_hint", None) == 431:
        return TooLarge("The address and the headers are too long; send long values in the body.")
    return InvalidRequest(
        "This is no valid HTTP/1.1 request: its first line, headers or chunks are malformed."
    )


async def _no_room(scope: Any, receive: Any, send: Any) -> None:
    """Answers in place of the app when there are too many connections."""
    response = error_response(
        Unavailable("The server has as many connections as it can; try again.", retry_after=1.0)
    )
    await response(scope, receive, send)
