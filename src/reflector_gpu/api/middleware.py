"""What happens to every request: the key is checked, the outcome counted and logged."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Collection, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflector_gpu.api.errors import CLIENT_CLOSED, error_response
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.notes import notes_of
from reflector_gpu.errors import ShuttingDown, Unauthorized

logger = logging.getLogger("reflector_gpu.access")

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""What a metric is labelled with; clients may send any word."""

REQUEST_ID = "X-Request-ID"


class RequireKey:
    """``Authorization: Bearer <key>``, before a byte of the body is read.

    Without ``keys`` everything is open. Paths in ``open_paths`` need no key. Which key it was,
    by its number, goes into ``request.state.client``.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str], open_paths: Collection[str]) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._keys and scope["path"] not in self._open:
            try:
                client = self._client(Headers(scope=scope).get("authorization"))
            except Unauthorized as error:
                await error_response(error)(scope, receive, send)
                return
            scope.setdefault("state", {})["client"] = client
        await self._app(scope, receive, send)

    def _client(self, header: str | None) -> str:
        if not header:
            raise Unauthorized("No API key given: send the header 'Authorization: Bearer <key>'.")
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("The Authorization header must have the form 'Bearer <key>'.")
        sent = key.strip().encode("latin-1")  # the very bytes that were sent
        # Every key is compared, each in constant time: how long it takes tells nothing.
        matches = [hmac.compare_digest(sent, known) for known in self._keys]
        if not any(matches):
            raise Unauthorized("Incorrect API key provided.")
        return f"key {matches.index(True)}"


class Observe:
    """Gives each request an id, counts it by route and status, and logs one line."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get(REQUEST_ID, "")[:64] or secrets.token_hex(8)
        notes = notes_of(scope)
        began = time.monotonic()
        status = CLIENT_CLOSED
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun = True
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers.update(notes.headers)
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:  # the time that a stopping server gives has run out
            if begun:
                raise
            error = ShuttingDown("The server is shutting down; try again.")
            await error_response(error)(scope, receive, send_and_note)
        except Exception:  # a bug of ours: noted here, answered by the outermost layer
            status = 500
            raise
        finally:
            took = time.monotonic() - began
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.request(method, route, status, took)
            level = logging.DEBUG if route.startswith("/health") else logging.INFO
            details = "".join(f" {name}={value}" for name, value in notes.details.items())
            logger.log(
                level,
                "%s %s %d %.3fs %s%s",
                scope["method"],
                scope["path"],
                status,
                took,
                request_id,
                details,
            )
