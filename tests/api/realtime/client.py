"""A realtime client for tests: sends events, and waits for those of a type."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.live import KEY
from tests.waiting import PATIENCE_SECONDS

Event = dict[str, Any]

PATH = "/v1/realtime?intent=transcription"
OTHER_KEY = "other-key"

TRANSCRIPTION = "conversation.item.input_audio_transcription"
DELTA, SEGMENT = f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.segment"
COMPLETED, FAILED = f"{TRANSCRIPTION}.completed", f"{TRANSCRIPTION}.failed"

SIXTEEN = {"type": "audio/pcm", "rate": 16_000}


class Address(Protocol):
    """Where a server is."""

    @property
    def url(self) -> str: ...


class Client:
    """A session with ``server``. ``settings`` are those of ``audio.input``."""

    def __init__(
        self,
        server: Address,
        path: str = PATH,
        *,
        key: str | None = KEY,
        subprotocols: Sequence[str] = (),
        headers: dict[str, str] | None = None,
        **settings: object,
    ) -> None:
        self.received: list[Event] = []
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        self._opening = connect(
            f"{server.url.replace('http', 'ws')}{path}",
            additional_headers=sent,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            max_size=None,
            proxy=None,
        )
        self.socket: ClientConnection = self._opening.__enter__()
        if settings:
            self.update(**settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opening.__exit__(kind, error, trace)

    def send(self, event_type: str, **fields: object) -> None:
        self.socket.send(json.dumps({"type": event_type, **fields}))

    def update(self, **settings: object) -> Event:
        """Set these of ``audio.input``; the whole session as it is now."""
        self.send("session.update", session={"audio": {"input": settings}})
        updated: Event = self.wait_for("session.updated")["session"]
        return updated

    def append(self, data: bytes) -> None:
        self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())

    def speak(self, samples: Samples, piece: int = 1600) -> None:
        """Send ``samples`` as 16-bit PCM at 16 kHz, in pieces."""
        data = pcm(samples)
        for begin in range(0, len(data), 2 * piece):
            self.append(data[begin : begin + 2 * piece])

    def next(self) -> Event:
        event: Event = json.loads(self.socket.recv(PATIENCE_SECONDS))
        assert event["event_id"].startswith("event_")
        self.received.append(event)
        return event

    def wait_for(self, event_type: str) -> Event:
        """The next event of this type. An error that nobody waits for fails the test."""
        while (event := self.next())["type"] != event_type:
            assert event["type"] != "error", event
        return event

    def next_error(self) -> Event:
        """The error that comes next, whatever else comes before it."""
        while (event := self.next())["type"] != "error":
            pass
        error: Event = event["error"]
        return error

    def types(self) -> list[str]:
        """The types of what was received."""
        return [event["type"] for event in self.received]

    def completed(self) -> Event:
        return self.wait_for(COMPLETED)


def pcm(samples: Samples) -> bytes:
    return np.round(samples * 32767).astype("<i2").tobytes()


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)
