"""Whether a peer is still there, as its packets tell."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SILENT_SECONDS = 15.0
"""A peer is gone that has sent nothing for so long, not even the checks that ICE wants every 4 to 6
seconds (RFC 7675). The library would wait for 30."""

REFUSED_SECONDS = 1.0
"""A peer whose machine says that nobody has its port is gone if it has sent nothing for so long.
Other packets show that such an answer is old, or somebody else's."""

# The names are in Python's `socket` from 3.14 on.
_ERRORS = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),  # IP_RECVERR
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),  # IPV6_RECVERR
}


class Presence:
    """What the sockets of one peer have received."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: float | None = None
        self._refused = False

    def watch(self, transport: asyncio.DatagramTransport) -> None:
        """Note what comes over ``transport``, beside its protocol."""
        protocol = transport.get_protocol()
        assert isinstance(protocol, asyncio.DatagramProtocol)
        transport.set_protocol(_Noting(protocol, self, _errors_of(transport)))

    def heard(self) -> None:
        """The peer has sent something."""
        self._heard, self._refused = self._clock(), False

    def refused(self) -> None:
        """A packet has found nobody at the peer's port."""
        self._refused = True

    def vanished(self) -> bool:
        """Whether the peer is there no more. One that has not connected yet has not."""
        if self._heard is None:
            return False
        silent = self._clock() - self._heard
        return silent > (REFUSED_SECONDS if self._refused else SILENT_SECONDS)


class _Noting(asyncio.DatagramProtocol):
    """Passes everything on to a ``protocol``, and tells a `Presence`."""

    def __init__(
        self,
        protocol: asyncio.DatagramProtocol,
        presence: Presence,
        errors: socket.socket | None,
    ) -> None:
        self._protocol = protocol
        self._presence = presence
        self._errors = errors

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._presence.heard()
        self._protocol.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):
            self._presence.refused()
        if self._errors:  # or the socket would be ready to read from now on
            with suppress(OSError):
                while True:
                    self._errors.recvmsg(1, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        self._protocol.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._errors:
            self._errors.close()
        self._protocol.connection_lost(exc)


def _errors_of(transport: asyncio.DatagramTransport) -> socket.socket | None:
    """The transport's socket once more, which gets to know from now on what became of its packets.

    None where that is not possible.
    """
    known: socket.socket | None = transport.get_extra_info("socket")
    if sys.platform != "linux" or known is None or known.family not in _ERRORS:
        return None
    known.setsockopt(*_ERRORS[socket.AddressFamily(known.family)], 1)
    return known.dup()
