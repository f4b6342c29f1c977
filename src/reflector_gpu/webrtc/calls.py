"""The calls of WebRTC peers. Each goes on after the request that has opened it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reflector_gpu.errors import NotFound, Overloaded, Unavailable
from reflector_gpu.realtime.conversation import Line
from reflector_gpu.realtime.server_events import new_id
from reflector_gpu.realtime.shared_line import SharedLine
from reflector_gpu.webrtc.offers import checked_offer, with_address

if TYPE_CHECKING:
    from reflector_gpu.webrtc.peer import Peer

Hold = Callable[[Line], Awaitable[None]]
"""Talks with a peer over its line until one of them ends that."""

logger = logging.getLogger(__name__)

_LONGEST_CONNECTING = 30.0  # seconds
_RETRY_SECONDS = 30.0
_NOT_HERE = 3600.0  # seconds until asking again makes sense if the server cannot do it at all


@dataclass(frozen=True, slots=True)
class _Call:
    client: str
    peer: Peer
    line: SharedLine
    task: asyncio.Task[None]


class Calls:
    """All calls of this server. Whoever makes it closes it."""

    def __init__(self, most: int, address: str, patience: float) -> None:
        """There are ``most`` at once. Peers reach this machine under ``address``, if it is one, or
        else under its own.

        A peer is given up if it does not connect for ``patience`` seconds, or does not read.
        """
        self._most = most
        self._address = address
        self._patience = min(patience, _LONGEST_CONNECTING)
        self._calls: dict[str, _Call] = {}
        self._opening = 0

    async def open(self, offer: str, client: str, hold: Hold) -> tuple[str, str]:
        """Answer the ``offer`` of a peer, and ``hold`` the line once it is connected.

        Returns the id of the call, and the answer.

        Raises:
            InvalidRequest: the offer cannot be used.
            Overloaded: there are too many calls.
            Unavailable: this server takes none.
        """
        offer = checked_offer(offer)
        peer_class = await asyncio.to_thread(self._library)
        if len(self._calls) + self._opening >= self._most:
            raise Overloaded(
                f"The server has {self._most} WebRTC calls, which is its limit; try again later.",
                retry_after=_RETRY_SECONDS,
            )
        peer = peer_class(self._patience)
        self._opening += 1
        try:
            answer = await peer.answer(offer)
        except BaseException:
            await peer.close()
            raise
        finally:
            self._opening -= 1
        call_id = new_id("rtc")
        line = SharedLine(peer)
        task = asyncio.create_task(self._held(call_id, peer, line, hold), name=call_id)
        self._calls[call_id] = _Call(client, peer, line, task)
        return call_id, with_address(answer, self._address) if self._address else answer

    async def hang_up(self, call_id: str, client: str) -> None:
        """End a call at once.

        Raises:
            NotFound: the client has no such call.
        """
        call = self._call(call_id, client)
        call.peer.gone.set()
        await asyncio.wait({call.task})

    def line(self, call_id: str, client: str) -> SharedLine:
        """The line of a call, which others of the same client may join.

        Raises:
            NotFound: the client has no such call.
        """
        return self._call(call_id, client).line

    def _call(self, call_id: str, client: str) -> _Call:
        call = self._calls.get(call_id)
        if call is None or call.client != client:
            raise NotFound("There is no such call: it has ended, or another server has it.")
        return call

    async def aclose(self, seconds: float) -> None:
        """End all calls. What was said is transcribed first, for so many ``seconds`` at most."""
        calls = list(self._calls.values())
        for call in calls:
            call.peer.stopping.set()
        if not calls:
            return
        tasks = [call.task for call in calls]
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for call in calls:
            if call.task in late:
                call.peer.gone.set()
        await asyncio.wait(tasks)

    def _library(self) -> type[Peer]:
        """The class of peers. Loading its library takes half a second."""
        if not self._most:
            raise Unavailable("This server takes no WebRTC calls.", retry_after=_NOT_HERE)
        try:
            from reflector_gpu.webrtc.peer import Peer
        except ImportError:
            raise Unavailable(
                "WebRTC needs an extra package on this server: pip install "
                "'reflector-gpu[webrtc]'. The WebSocket /v1/realtime works without.",
                retry_after=_NOT_HERE,
            ) from None
        return Peer

    async def _held(self, call_id: str, peer: Peer, line: SharedLine, hold: Hold) -> None:
        try:
            if await self._connected(peer):
                await hold(line)
        except Exception:  # a bug of ours costs one call
            logger.exception("a WebRTC call failed")
        finally:
            await line.close()
            del self._calls[call_id]

    async def _connected(self, peer: Peer) -> bool:
        """Whether the peer connects before it, or anybody, loses patience."""
        waiting = [
            asyncio.create_task(event.wait()) for event in (peer.ready, peer.gone, peer.stopping)
        ]
        try:
            await asyncio.wait(waiting, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return peer.ready.is_set()
