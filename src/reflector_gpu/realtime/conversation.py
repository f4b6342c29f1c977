"""A realtime session with somebody at the other end of a line."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from reflector_gpu.errors import ReflectorError, SessionExpired
from reflector_gpu.realtime.server_events import ServerEvent
from reflector_gpu.realtime.session import Session
from reflector_gpu.types import Samples

logger = logging.getLogger(__name__)

GOING_AWAY, BUG = 1001, 1011  # close codes of RFC 6455


class Line(Protocol):
    """What connects a client with its session."""

    @property
    def stopping(self) -> asyncio.Event:
        """The server stops, so that the conversation should end soon."""
        ...

    @property
    def gone(self) -> asyncio.Event:
        """The client has left."""
        ...

    async def receive(self) -> str | bytes | Samples | None:
        """The client's next event, or what it says; None once it has left.

        Raises:
            ReflectorError: the line cannot go on. The client is told why.
        """
        ...

    async def send(self, text: str) -> None:
        """Send an event, unless the client has left."""

    async def close(self, code: int, reason: str) -> None:
        """Close the line, unless it is closed."""


class Conversation:
    """Carries events between a client and a session, until one of them or the server ends it."""

    def __init__(self, line: Line, lifetime: float) -> None:
        """It ends after ``lifetime`` seconds."""
        self.lifetime = lifetime
        self._line = line
        self._taking = asyncio.Lock()

    async def send(self, event: ServerEvent) -> None:
        """Send ``event``, unless the client has left."""
        await self._line.send(event.model_dump_json())

    async def hold(self, session: Session) -> None:
        """Hold the conversation, and close the session and the line at its end."""
        tasks = {
            "listening": asyncio.create_task(self._listen(session)),
            "stopping": asyncio.create_task(self._line.stopping.wait()),
            "gone": asyncio.create_task(self._line.gone.wait()),
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
        except ReflectorError as error:
            await session.refuse(error)
        except Exception:  # a bug of ours; the client is told nothing else about it
            logger.exception("a realtime session failed")
            code, reason = BUG, ""
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())
            await session.aclose()
            await self._line.close(code, reason)

    async def _listen(self, session: Session) -> None:
        """Take the client's events until it leaves."""
        await session.start()
        while (received := await self._line.receive()) is not None:
            async with self._taking:
                if isinstance(received, str | bytes):
                    await session.take(received)
                else:
                    await session.hear(received)
