"""Uvicorn's WebSocket with limits, and with an end that the app can prepare for."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

MOST_BYTES = 21 * 1024 * 1024
"""The longest message: 15 MiB of audio in base64, and some more."""

MOST_UNFINISHED = 256 * 1024 * 1024
"""Bytes of messages that have begun and not ended, of all clients together."""

_LARGE = 1024 * 1024  # bytes of one message; smaller ones are not counted
_MOST_FRAMES = 10_000  # that a message may come in
SLOWEST_READER = 1_000.0
"""Bytes a second that a client must read of what it is sent."""

_REFUSED = "ASGI callable returned without completing handshake."
"""What uvicorn calls an error where the app refuses a WebSocket, which the app logs itself."""

_WATCH_SECONDS = 0.5
_HANGUP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)  # macOS has no RDHUP

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_STATE_KEY = "websocket_signals"

logger = logging.getLogger("reflector_gpu.websocket")
logger.setLevel(logging.WARNING)  # the app logs sessions, without their queries
logger.addFilter(lambda record: record.msg != _REFUSED)


@dataclass(frozen=True, slots=True)
class Signals:
    """What the server tells the app about a WebSocket while the app does other things."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """The server stops, so that the WebSocket should be closed soon."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The client has left."""


def signals_of(scope: Scope) -> Signals:
    """The signals of a WebSocket. Other servers than ours never give any."""
    found = scope.get("state", {}).get(_STATE_KEY)
    return found if isinstance(found, Signals) else Signals()


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket."""

    def __init__(
        self,
        config: Any,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.signals = Signals()
        self.app_state = {**app_state, _STATE_KEY: self.signals}
        self.logger = logger
        self.conn.debug = False  # it would log keys and audio
        self._limits = config.limits
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._unread = 0
        self.conn.logger = self.logger

    # What asyncio and uvicorn call

    def connection_lost(self, exc: Exception | None) -> None:
        self.signals.gone.set()
        self._stop_timer()
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self._limits.write, self._check_reader)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_timer()

    def shutdown(self) -> None:
        """Let the app close it. Uvicorn cancels the app if that takes too long."""
        if self.handshake_complete and not self.close_sent:
            self.signals.stopping.set()
        else:
            super().shutdown()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > _MOST_FRAMES:  # empty ones do not count in the length
            self.conn.fail(1009, "too many frames")
            self.handle_parser_exception()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc:
            # The parser of requests let the head pass, and that of WebSockets does not.
            self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
            self.transport.close()
        elif self.unfinished > _LARGE:
            self._check_unfinished()

    @property
    def unfinished(self) -> int:
        """The bytes of a message that is yet to end."""
        return len(self.conn.reader.buffer) + sum(map(len, self.frames))

    def _check_unfinished(self) -> None:
        others = [one for one in self.connections if isinstance(one, WebSocketConnection)]
        if sum(one.unfinished for one in others) > MOST_UNFINISHED:
            self.conn.fail(1013, "other messages fill the memory; send shorter ones")
            self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        super().send_receive_event_to_app()
        if self.read_paused and self._watch is None:
            self._watch_client()

    def keepalive_timeout(self) -> None:
        """Break off: a client that does not answer a ping would not read why."""
        if self.read_paused:  # the answer may wait behind what the app has yet to take
            self.pending_ping_payload = None
            self.schedule_ping()
            return
        self.transport.abort()

    # Whether the client is still there

    def _watch_client(self) -> None:
        """Break off once the client has left.

        While nothing is read from it, nothing else would notice.
        """
        self._watch = None
        if not self.read_paused or self.transport.is_closing():
            return
        if hung_up(self.transport.get_extra_info("socket")):
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(_WATCH_SECONDS, self._watch_client)

    # How long a client may not read

    def _check_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < self._limits.write * SLOWEST_READER:
            self.transport.abort()
            return
        self._unread = unread
        self._timer = self.loop.call_later(self._limits.write, self._check_reader)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def hung_up(connection: socket.socket) -> bool:
    """Whether the other end has closed the connection."""
    poll = select.poll()
    poll.register(connection, _HANGUP)
    return bool(poll.poll(0))
