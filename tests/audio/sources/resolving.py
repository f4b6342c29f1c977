"""A resolver whose answers tests choose, and addresses that it gives."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from reflector_gpu.audio.guard import (
    AddressGuard,
    parse_url,
    port_of,
)

PUBLIC = "93.184.216.34"

PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"


class Names:
    """A resolver that knows a few names and remembers what it was asked."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = {name.replace("_", "."): addresses for name, addresses in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self.known[host]


def resolve(url: str, *allow: str, names: Names | None = None) -> tuple[str, ...]:
    parsed = parse_url(url)
    guard = AddressGuard(allow, resolver=names or Names())
    return asyncio.run(guard.resolve(parsed.raw_host.decode("ascii"), port_of(parsed)))
