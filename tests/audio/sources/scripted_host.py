"""A host on loopback that answers as a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx
import pytest

from reflector_gpu.audio.fetch import Fetcher, FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    ReflectorError,
)
from tests.audio.media import limited

AUDIO = bytes(range(256)) * 40

HALF = len(AUDIO) // 2

SECRET = "hunter2"

HERE = ("127.0.0.1",)

PLAIN = httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass
class Say:
    """An answer, sent as it stands; then the connection ends, or hangs until the client leaves,
    or goes on with ``drops`` until then."""

    data: bytes
    hang: bool = False
    drops: bytes = b""


Asked: TypeAlias = dict[str, str]  # the headers of a request, and its ``target``

Answer: TypeAlias = Say | Callable[[Asked], Say]


def say(status: int, body: bytes = b"", cut: int = 1 << 30, **headers: str) -> Say:
    """``cut`` sends only so many bytes of ``body``; ``Content-Length`` is that of all of it."""
    fields = {"Content_Length": str(len(body))} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return Say(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body[:cut])


def part(start: int, body: bytes = AUDIO, cut: int = 1 << 30, **headers: str) -> Say:
    where = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return say(206, body[start:], cut, Content_Range=where, **headers)


@dataclass
class Host:
    """Gives one answer per connection and one per lookup, the last ones for ever."""

    answers: Sequence[Answer]
    lookups: Sequence[Sequence[str] | OSError] = (HERE,)  # none at all: they never end
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    looked_up: int = 0
    pauses: list[float] = field(default_factory=list)
    stuck: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, EOFError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = (line.partition(": ") for line in lines[1:] if line)
            asked = {name.lower(): value for name, _, value in pairs}
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
            self.asked.append(asked | {"target": lines[0].split()[1]})
            said = answer if isinstance(answer, Say) else answer(asked)
            writer.write(said.data)
            await writer.drain()
            while said.drops and not reader.at_eof():
                writer.write(said.drops)
                await writer.drain()
                await asyncio.sleep(0.001)
            if said.hang:
                self.stuck.set()
                await reader.read()
                self.left.set()
        writer.close()

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        while not self.lookups:
            await asyncio.Event().wait()
        self.looked_up += 1
        found = self.lookups[min(self.looked_up, len(self.lookups)) - 1]
        if isinstance(found, OSError):
            raise found
        return found

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/a.wav?X-Amz-Signature={SECRET}"

    async def fetch(
        self,
        url: str | None = None,
        limits: FetchLimits | None = None,
        transport: httpx.AsyncBaseTransport = PLAIN,
        clock: Callable[[], float] = float,
        room: int = 1 << 24,
    ) -> bytes:
        """What a spool with ``room`` bytes got; what is raised reaches the spool's readers, too."""
        fetcher = Fetcher(
            AddressGuard(HERE, resolver=self.look_up),
            limits or limited(retries=2),
            transport=transport,
            sleep=self.pause,
            clock=clock,
            jitter=lambda: 1.0,
        )
        with Spool(room) as spool:
            try:
                await fetcher.fetch(self.url() if url is None else url, spool)
            except ReflectorError as error:
                if SECRET in f"{error} {error.__cause__}" or not error.param:
                    pytest.fail(f"not fit for a client: {error!r}")
                with pytest.raises(type(error)):
                    spool.read_at(spool.size, 1)
                raise
            assert spool.complete
            return spool.read_at(0, spool.size)


@contextlib.asynccontextmanager
async def hosting(*answers: Answer) -> AsyncIterator[Host]:
    host = Host(answers)
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(60), server:
        yield host


async def fetched(*answers: Answer, limits: FetchLimits | None = None) -> bytes:
    async with hosting(*answers) as host:
        return await host.fetch(limits=limits)


CHUNKED = b"HTTP/1.1 200 OK\r\nETag: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"

BROKEN = say(200, AUDIO, HALF)

TAGGED = say(200, AUDIO, HALF, ETag='"v1"')
