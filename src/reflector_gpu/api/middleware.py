"""What every request passes: it gets an id, and its outcome is counted and logged."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TypeAlias

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflector_gpu.api.access import INTERNAL
from reflector_gpu.api.errors import CLIENT_CLOSED, bug_response, error_response
from reflector_gpu.api.request_record import record_of
from reflector_gpu.api.route_table import RouteTable
from reflector_gpu.api.telemetry import Telemetry
from reflector_gpu.api.tracing import NO_TRACER, Span
from reflector_gpu.errors import InvalidRequest, ShuttingDown
from reflector_gpu.escaping import escaped
from reflector_gpu.logs import REQUEST_ID as REQUEST_ID_FIELD
from reflector_gpu.logs import Event, log_fields
from reflector_gpu.stages import telling

logger = logging.getLogger("reflector_gpu.access")

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""Methods that label a metric. Others share a label, because clients may send any word."""

_WATCHING = ("/health", "/metrics")
"""Paths that monitoring asks for every few seconds."""

_ANSWERS = {"http.response.start", "websocket.http.response.start"}

REQUEST_ID = "X-Request-ID"

_CLIENTS_ID = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,128}")
"""An id that a client may give its request. Others could be mistaken for something else."""

_LONGEST_VALUE = 300  # characters of a field in the log
_SPECIAL = frozenset(' "=')


_PROTECTION = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer that does not set them itself.

With them a browser does not guess an answer's type, does not pass its address on, loads nothing for
it, and shows it in no frame.
"""


class AnswerFailures:
    """Answers a request that would get no answer, because the server stops or has a bug."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_and_see(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except asyncio.CancelledError:  # the server stops, and has waited long enough
            if begun or INTERNAL in scope:
                raise
            error = ShuttingDown("The server is shutting down; try again.")
            await error_response(error)(scope, receive, send)
        except Exception as error:  # a bug of ours, whose text no client may see
            if begun:
                raise
            await bug_response(scope, error)(scope, receive, send)


class RefuseTwoLengths:
    """Refuses a request that has both Content-Length and Transfer-Encoding.

    A proxy may believe the one and this server the other. Each would then take another part of the
    bytes for the next request (RFC 9112, 6.1), so the connection is closed as well.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            names = {name for name, _ in scope["headers"]}
            if {b"content-length", b"transfer-encoding"} <= names:
                error = InvalidRequest("Send Content-Length or Transfer-Encoding, and not both.")
                response = error_response(error)
                response.headers["Connection"] = "close"
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Observe:
    """Gives each request an id, counts it by route and status, traces it, and logs one line."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, routes: RouteTable) -> None:
        self._app = app
        self._metrics = telemetry.metrics
        self._tracer = telemetry.tracer
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)
        record = record_of(scope)
        status = CLIENT_CLOSED

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "websocket.accept":
                status = 101
            if message["type"] in _ANSWERS:
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _PROTECTION.items():
                    headers.setdefault(name, value)
                headers.update(record.headers)
            await send(message)

        with (
            self._traced(scope) as span,
            log_fields(request_id=request_id, **span.log_fields),
            telling(self._metrics.stage, span.stage),
        ):
            try:
                await self._app(scope, receive, send_and_note)
            except Exception:  # a bug of ours in the middle of an answer, which uvicorn logs
                status = 500
                raise
            finally:
                took = time.monotonic() - record.began
                route = self._routes.label(scope)
                sent = scope.get("method", "GET")  # all that a WebSocket can begin with
                method = sent if sent in _METHODS else "other"
                self._metrics.request(method, route, status, took)
                _describe(span, method, route, status, request_id)
                level = logging.DEBUG if route.startswith("/health") else logging.INFO
                if logger.isEnabledFor(level):
                    about = {"method": sent, "path": scope["path"], "status": status}
                    _log(level, request_id, {**about, "duration": took}, record.details)

    def _traced(self, scope: Scope) -> AbstractContextManager[Span]:
        """The span of a request. Requests of monitoring have none."""
        tracer = NO_TRACER if scope["path"].startswith(_WATCHING) else self._tracer
        return tracer.request(Headers(scope=scope))


def _describe(span: Span, method: str, route: str, status: int, request_id: str) -> None:
    """Describe a request and its outcome in a trace, by OpenTelemetry's conventions."""
    told: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "reflector.request_id": request_id,
    }
    span.named(f"{method} {route}", told)
    if status >= 500:
        span.fail()


def _id_of(scope: Scope) -> str:
    """The id that a request brings, or else a new one."""
    sent = Headers(scope=scope).get(REQUEST_ID, "")
    return sent if _CLIENTS_ID.fullmatch(sent) else secrets.token_hex(8)


_Fields: TypeAlias = Mapping[str, str | int | float]


def _log(level: int, request_id: str, done: _Fields, details: _Fields) -> None:
    """Log what became of a request. Fields with a fraction are seconds."""
    method, path, status, took = done.values()
    named = "".join(f" {name}={value_of(value)}" for name, value in details.items())
    event = Event(
        f"{method} {_shortened(str(path))} {status}",
        {
            REQUEST_ID_FIELD: request_id,
            **{
                f"{name}_seconds" if isinstance(value, float) else name: _shortened(value)
                for name, value in {**done, **details}.items()
            },
        },
    )
    logger.log(
        level,
        "%s %s %d %.3fs id=%s%s",
        method,
        value_of(path),
        status,
        took,
        request_id,
        named,
        extra=event.extra,
    )


def _shortened(value: str | int | float) -> str | int | float:
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        return f"{value[:_LONGEST_VALUE]}..."
    return round(value, 3) if isinstance(value, float) else value


def value_of(value: str | int | float) -> str:
    """``value`` in a line of the log, quoted if it is more than a plain word.

    Nothing in it can end the line, or look like another field.
    """
    if isinstance(value, float):
        return f"{value:.3f}s"
    text = str(_shortened(value))
    text = escaped(text.replace("\\", "\\\\"))
    if text and not _SPECIAL.intersection(text):
        return text
    quoted = text.replace('"', '\\"')
    return f'"{quoted}"'
