"""Whether a peer is there: by what it sends, and by what its machine answers."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from reflector_gpu.webrtc.presence import REFUSED_SECONDS, SILENT_SECONDS, Presence
from tests.waiting import PATIENCE_SECONDS


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_peer_that_never_came_has_not_vanished() -> None:
    clock = Clock()
    presence = Presence(clock)
    clock.now += 10 * SILENT_SECONDS
    assert not presence.vanished()


def test_a_peer_that_sends_nothing_is_gone_at_last() -> None:
    clock = Clock()
    presence = Presence(clock)
    presence.heard()
    clock.now += SILENT_SECONDS
    assert not presence.vanished()
    clock.now += 0.1
    assert presence.vanished()
    presence.heard()
    assert not presence.vanished()


def test_a_peer_whose_port_is_closed_is_gone_soon() -> None:
    clock = Clock()
    presence = Presence(clock)
    presence.heard()
    presence.refused()
    assert not presence.vanished()  # it may have sent something since
    clock.now += REFUSED_SECONDS + 0.1
    assert presence.vanished()


def test_an_answer_that_is_not_about_the_peer_does_not_count() -> None:
    clock = Clock()
    presence = Presence(clock)
    presence.refused()
    presence.heard()
    clock.now += 2 * REFUSED_SECONDS
    assert not presence.vanished()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of closed ports")
def test_a_socket_hears_of_closed_ports_and_goes_on() -> None:
    """The library's protocol gets what comes before and after that."""

    class Protocol(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.received: asyncio.Queue[bytes] = asyncio.Queue()
            self.refused = asyncio.Event()

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.received.put_nowait(data)

        def error_received(self, exc: Exception) -> None:
            self.refused.set()

    async def talk() -> bool:
        loop, clock = asyncio.get_running_loop(), Clock()
        transport, protocol = await loop.create_datagram_endpoint(
            Protocol, local_addr=("127.0.0.1", 0)
        )
        presence = Presence(clock)
        presence.watch(transport)
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            there = peer.getsockname()
            peer.sendto(b"hello", transport.get_extra_info("sockname"))
            assert await protocol.received.get() == b"hello"
        transport.sendto(b"are you there?", there)
        await protocol.refused.wait()
        clock.now += 2 * REFUSED_SECONDS
        gone = presence.vanished()
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.sendto(b"again", transport.get_extra_info("sockname"))
            assert await protocol.received.get() == b"again"
        transport.close()
        assert not presence.vanished()
        return gone

    assert asyncio.run(asyncio.wait_for(talk(), PATIENCE_SECONDS))
