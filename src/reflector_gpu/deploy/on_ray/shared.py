"""What the servers of a cluster share: what clients have in work.

A small actor keeps it. The database does not, because it is only there with jobs, and would be
written to at every request. A server tells the actor what its clients have in work a tenth of a
second after that changed, and twice a second in any case. The answer is what they have on all other
servers. So no request waits for the actor, and a new actor soon knows everything. But what a server
knows of the others is up to half a second old: a client may exceed its limit for so long, or be
refused although it no longer does.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.limits import Use

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1  # between looks whether anything changed
_EXCHANGE_SECONDS = 0.5  # between exchanges if nothing has
_PATIENCE_SECONDS = 5.0  # for the actor's answer
_FORGOTTEN_SECONDS = 10.0  # after which a server that says nothing has no requests in work


class Shared:
    """The body of the actor."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._servers: dict[str, tuple[float, Mapping[str, Use]]] = {}

    async def exchange(self, server: str, use: Mapping[str, Use]) -> dict[str, Use]:
        """Keep what clients have in work at ``server``. Returns what they have at all others."""
        now = self._clock()
        self._servers[server] = now, use
        total: dict[str, Use] = {}
        for other, (heard, theirs) in list(self._servers.items()):
            if now - heard > _FORGOTTEN_SECONDS:
                del self._servers[other]
            elif other != server:
                for client, one in theirs.items():
                    total[client] = total.get(client, Use()) + one
        return total


class SharedHandle(Protocol):
    """What is used of a handle of the actor's deployment."""

    exchange: Any


class Share:
    """Middleware of a server that shares the limits of clients with the others."""

    def __init__(self, app: ASGIApp, shared: SharedHandle, admission: Admission) -> None:
        self._app = app
        self._shared = shared
        self._admission = admission
        self._name = uuid.uuid4().hex
        self._answers = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchanging = asyncio.create_task(self._exchange())
        try:
            await self._app(scope, receive, send)
        finally:
            exchanging.cancel()
            with suppress(asyncio.CancelledError):
                await exchanging

    async def _exchange(self) -> None:
        told, when = None, 0.0
        while True:
            use, now = self._admission.use, time.monotonic()
            if use != told or now - when > _EXCHANGE_SECONDS:
                told, when = use, now
                others = await self._ask(self._shared.exchange, self._name, use)
                self._admission.used_elsewhere(others or {})
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, method: Any, *arguments: object) -> Any:
        """The actor's answer, or None while it does not answer."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await method.remote(*arguments)
        except Exception as error:  # noqa: BLE001  if it ended the exchange, old counts would stay
            if self._answers:
                logger.warning("each server counts for itself until the actor answers: %r", error)
            self._answers = False
            return None
        self._answers = True
        return answer
