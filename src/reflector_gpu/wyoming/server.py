"""Listens for Wyoming clients, on a port of its own beside HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from reflector_gpu.errors import ReflectorError, Unauthorized, release_frames
from reflector_gpu.networks import Trust
from reflector_gpu.realtime.recognition import ServiceSpeech
from reflector_gpu.service import Service
from reflector_gpu.version import __version__
from reflector_gpu.wyoming.conversation import Conversation, failure
from reflector_gpu.wyoming.wire import LINE_BYTES, Event, read, written

logger = logging.getLogger(__name__)

_MOST = 100  # connections at once


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds a client may take.

    One that sends no audio, whatever else it sends, gives its place up after ``silent``. One that
    does not read what it is sent is gone after ``unread``.
    """

    silent: float = 60.0
    unread: float = 30.0


class WyomingServer:
    """Answers clients on one socket. `start` it, and `close` it before the service."""

    def __init__(
        self, service: Service, keyed: Callable[[], bool], patience: Patience = Patience()
    ) -> None:
        """``keyed`` tells whether there are named keys by now. The protocol knows nothing of keys:
        where they are needed, only trusted networks may speak."""
        self._service = service
        self._keyed = keyed
        self._patience = patience
        self._trust = Trust(service.settings.trusted_networks, ())
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=LINE_BYTES)

    async def close(self) -> None:
        """End all conversations."""
        if self._server:
            self._server.close()
        for task in self._conversations:
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._served(reader, writer))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, TimeoutError):
                await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(event: Event) -> None:
            with suppress(ConnectionError):  # the reader notices that nobody is there
                writer.write(written(event))
                try:
                    async with asyncio.timeout(self._patience.unread):
                        await writer.drain()
                except TimeoutError:
                    writer.transport.abort()

        peer: tuple[str, ...] | None = writer.get_extra_info("peername")
        caller = self._trust.caller(peer[0] if peer else None, ())
        is_open = self._service.settings.open_to_all and not self._keyed()
        if not is_open and not caller.trusted:
            message = "Wyoming has no keys: add the caller's address"
            await send(failure(Unauthorized(f"{message} to REFLECTOR_TRUSTED_NETWORKS.")))
            return
        if len(self._conversations) > _MOST:
            return
        speech = ServiceSpeech(self._service, caller.client)
        async with aclosing(Conversation(speech, self._info, send)) as conversation:
            try:
                async with aclosing(self._events(reader, conversation)) as events:
                    async for event in events:
                        try:
                            await conversation.take(event)
                        except ReflectorError as error:
                            release_frames(error)
                            await send(failure(error))
            except ReflectorError as error:  # what came is no event, and nothing more can be read
                await send(failure(error))

    async def _events(
        self, reader: asyncio.StreamReader, conversation: Conversation
    ) -> AsyncGenerator[Event]:
        """The client's events, as long as there is reason to wait for more."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience.silent
        reading = asyncio.create_task(read(reader))
        try:
            while True:
                latest = min(until, conversation.until)
                await asyncio.wait({reading}, timeout=max(0.0, latest - clock()))
                if conversation.is_working:
                    until = clock() + self._patience.silent
                elif not reading.done():
                    return
                if not reading.done():
                    continue
                if (event := reading.result()) is None:
                    return
                if event.payload:
                    until = clock() + self._patience.silent
                reading = asyncio.create_task(read(reader))
                yield event
        finally:
            reading.cancel()

    def _info(self) -> Event:
        """What this server can do: speech to text, by its configured models."""
        attribution = {"name": "reflector-gpu", "url": "https://github.com/monadical-sas/reflector"}
        about = {"attribution": attribution, "installed": True, "version": __version__}
        models = [
            {
                "name": model.name,
                "description": model.summary,
                "languages": sorted(model.spec.languages),
                **about,
            }
            for model in self._service.configured
        ]
        program = {
            "name": "reflector-gpu",
            "description": "Speech recognition",
            "models": models,
            "supports_transcript_streaming": True,
            **about,
        }
        nothing: dict[str, object] = {
            kind: [] for kind in ("tts", "handle", "intent", "wake", "mic", "snd")
        }
        return Event("info", {"asr": [program], **nothing})
