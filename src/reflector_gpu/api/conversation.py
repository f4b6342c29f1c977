"""A realtime session over an open WebSocket."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from reflector_gpu.api.websocket_connection import signals_of
from reflector_gpu.api.websockets import BUG, GOING_AWAY
from reflector_gpu.errors import SessionExpired
from reflector_gpu.realtime.server_events import ServerEvent
from reflector_gpu.realtime.session import Session

logger = logging.getLogger(__name__)


class Conversation:
    """Carries events between a client and a session, until one of them or the server ends it."""

    def __init__(self, websocket: WebSocket, lifetime: float) -> None:
        """It ends after ``lifetime`` seconds."""
        self.lifetime = lifetime
        self._websocket = websocket
        self._signals = signals_of(websocket.scope)
        self._taking = asyncio.Lock()

    async def send(self, event: ServerEvent) -> None:
        """Send ``event``, unless the client has left."""
        with suppress(WebSocketDisconnect, RuntimeError):  # the latter when it is known already
            await self._websocket.send_text(event.json_text())

    async def hold(self, session: Session) -> None:
        """Hold the conversation, and close the session and the WebSocket at its end."""
        tasks = {
            "listening": asyncio.create_task(self._listen(session)),
            "stopping": asyncio.create_task(self._signals.stopping.wait()),
            "gone": asyncio.create_task(self._signals.gone.wait()),
        }
        code, reason = GOING_AWAY, "server stops"
        try:
            await asyncio.wait(
                tasks.values(), timeout=self.lifetime, return_when=asyncio.FIRST_COMPLETED
            )
            if tasks["listening"].done():
                tasks["listening"].result()  # it raises what went wrong, if anything did
                return
            if tasks["gone"].done():
                return
            async with self._taking:  # no event is left half done
                tasks["listening"].cancel()
            tasks["last words"] = asyncio.create_task(session.finish())
            await asyncio.wait(
                (tasks["last words"], tasks["gone"]), return_when=asyncio.FIRST_COMPLETED
            )
            if not tasks["stopping"].done():
                reason = "session expired"
                await session.refuse(
                    SessionExpired(f"The session has lasted its {self.lifetime:g} seconds.")
                )
        except Exception:  # a bug of ours; the client is told nothing else about it
            logger.exception("a realtime session failed")
            code, reason = BUG, ""
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())
            await session.aclose()
            await self._close(code, reason)

    async def _listen(self, session: Session) -> None:
        """Take the client's events until it leaves."""
        await session.start()
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            async with self._taking:
                await session.take(message["bytes"] if text is None else text)

    async def _close(self, code: int, reason: str) -> None:
        """Close the WebSocket, unless it is closed."""
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.close(code, reason)
