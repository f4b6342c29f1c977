"""A WebRTC peer for tests, by aiortc: it speaks, and waits for events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import TypeVar

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from av import AudioFrame

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.realtime.client import Event
from tests.live import KEY, LiveServer
from tests.waiting import PATIENCE_SECONDS

aiortc = pytest.importorskip("aiortc", reason="needs the extra 'webrtc'")
ice = pytest.importorskip("aioice.ice")

PATH = "/v1/realtime/calls"

needs_address = pytest.mark.skipif(
    not ice.get_host_addresses(use_ipv4=True, use_ipv6=True),
    reason="this machine has no address but that of its loopback, which no peer offers",
)

RATE = 48_000
FRAME = RATE // 50
SPEED = 4  # times as fast as anybody speaks; the packets' times are true

T = TypeVar("T")


class Microphone(aiortc.MediaStreamTrack):  # type: ignore[misc,name-defined]
    """Hears ``samples``, and then silence."""

    kind = "audio"

    def __init__(self, samples: Samples) -> None:
        super().__init__()
        loud = np.repeat(samples, RATE // SAMPLE_RATE)
        self._samples: npt.NDArray[np.int16] = np.round(loud * 32767).astype(np.int16)
        self._position = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(FRAME / RATE / SPEED)
        part = np.zeros(FRAME, np.int16)
        spoken = self._samples[self._position : self._position + FRAME]
        part[: len(spoken)] = spoken
        frame = AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts, frame.time_base = self._position, Fraction(1, RATE)
        self._position += FRAME
        return frame


class Caller:
    """A peer that speaks ``samples`` once it is connected."""

    def __init__(self, samples: Samples) -> None:
        self.connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self.connection.addTrack(Microphone(samples))
        self.channel = self.connection.createDataChannel("oai-events")
        self.received: list[Event] = []
        self.closed = asyncio.Event()
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self.channel.on("message", self._events.put_nowait)
        self.channel.on("close", self.closed.set)

    async def offer(self) -> str:
        if self.connection.localDescription is None:
            await self.connection.setLocalDescription()
        offer: str = self.connection.localDescription.sdp
        return offer

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))

    def send(self, event_type: str, **fields: object) -> None:
        self.channel.send(json.dumps({"type": event_type, **fields}))

    async def next(self) -> Event:
        async with asyncio.timeout(PATIENCE_SECONDS):
            event: Event = json.loads(await self._events.get())
        self.received.append(event)
        return event

    async def wait_for(self, event_type: str) -> Event:
        """The next event of this type. An error that nobody waits for fails the test."""
        while (event := await self.next())["type"] != event_type:
            assert event["type"] != "error", event
        return event

    def types(self) -> list[str]:
        return [event["type"] for event in self.received]


@asynccontextmanager
async def caller(samples: Samples) -> AsyncIterator[Caller]:
    """A peer that is not connected yet, and is closed in the end."""
    found = Caller(samples)
    try:
        yield found
    finally:
        await found.connection.close()


def client(server: LiveServer, key: str = KEY) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=server.url,
        headers={"Authorization": f"Bearer {key}"},
        timeout=PATIENCE_SECONDS,
        trust_env=False,
        verify=False,
    )


async def asked(server: LiveServer, offer: str, key: str = KEY) -> httpx.Response:
    """The server's answer to an offer."""
    async with client(server, key) as asking:
        sdp = {"Content-Type": "application/sdp"}
        return await asking.post(PATH, content=offer, headers=sdp)


async def answered(server: LiveServer, offer: str, key: str = KEY) -> httpx.Response:
    """The server's answer, once it has a place for the call."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        # No event tells of somebody else's end.
        while (answer := await asked(server, offer, key)).status_code == 429:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert answer.status_code == 201, answer.text
    return answer


async def call(server: LiveServer, peer: Caller, key: str = KEY) -> str:
    """Connect ``peer``; the path of the call."""
    answer = await answered(server, await peer.offer(), key)
    await peer.accept(answer.text)
    location: str = answer.headers["location"]
    return location


async def hung_up(server: LiveServer, location: str, key: str = KEY) -> int:
    """The status of the answer to the wish to end a call."""
    async with client(server, key) as asking:
        return (await asking.post(f"{location}/hangup")).status_code


def run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)
