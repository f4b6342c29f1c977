"""Clients that cost next to nothing, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx


@dataclass(slots=True)
class Tally:
    """What came back: answers by status, and the seconds that each took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def raw(request: httpx.Request) -> bytes:
    """``request`` as it goes over the wire."""
    head = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1".encode()]
    head += [name + b": " + value for name, value in request.headers.raw]
    return b"\r\n".join([*head, b"", b""]) + request.read()


async def keep_asking(host: str, port: int, request: bytes, seconds: float, tally: Tally) -> None:
    """Send ``request`` over one connection, again and again, for ``seconds``."""
    reader, writer = await asyncio.open_connection(host, port)
    until = time.perf_counter() + seconds
    try:
        while (began := time.perf_counter()) < until:
            writer.write(request)
            status, _ = await answer(reader)
            tally.statuses[status] += 1
            tally.seconds.append(time.perf_counter() - began)
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer whose body is read and forgotten."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    await reader.readexactly(int(headers.get("content-length", "0")))
    return int(lines[0].split()[1]), headers
