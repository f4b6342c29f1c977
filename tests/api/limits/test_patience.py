"""Neither a client that stalls nor a server that stops leaves anything hanging."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from reflector_gpu.api.connection import body_of
from reflector_gpu.errors import ClientTooSlow
from reflector_gpu.runtime import arrivals
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.limits import Limits
from reflector_gpu.types import Priority
from tests.api.conftest import OTHER_KEY
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    TRANSCRIPTIONS,
    Gate,
    ask_url,
    error_of,
    eventually,
    metric,
    retry_after,
    running,
    send_raw,
    upload,
)
from tests.live import KEY, LiveServer
from tests.runtime.clock import Clock
from tests.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, FROM_URL])
def test_a_body_that_stops_arriving_gives_its_place_back(clip: bytes, path: str) -> None:
    with LiveServer(model="scripted", apikey=KEY, body_seconds=0.2) as server:
        with server.client() as client:
            body = {"files": {"file": clip}} if path == TRANSCRIPTIONS else {"json": {"a": "b"}}
            request = client.build_request("POST", path, **body)
        connection = send_raw(server, request, share=0.5)
        assert b" 408 " in connection.recv(10_000)
        connection.close()
        eventually(lambda: not running(server, "live") and not running(server, "file"))


class Body:
    """A body of pieces, each of which takes some seconds to come."""

    def __init__(self, *pieces: tuple[float, int]) -> None:
        self.clock = Clock()
        self._pieces = list(pieces)

    async def receive(self) -> Message:
        seconds, size = self._pieces.pop(0)
        self.clock.advance(seconds)
        return {"type": "http.request", "body": bytes(size), "more_body": bool(self._pieces)}

    async def read(self) -> int:
        """How many bytes came."""
        admission = Admission({priority: Limits() for priority in Priority}, clock=self.clock)
        request = Request({"type": "http"}, self.receive)
        with admission.permit(Priority.LIVE) as permit:
            return sum([len(data) async for data in body_of(request, 60, permit, self.clock)])


def test_a_body_may_be_as_slow_as_allowed() -> None:
    """A thousand bytes a second, and a minute more."""
    body = Body((0, 1), (60, 999), (1, 1_000), (0, 100_000), (101, 0))
    assert asyncio.run(body.read()) == 102_000


@pytest.mark.parametrize("late", [Body((60.1, 99)), Body((0, 5_000), (65.1, 99), (0, 9_999_999))])
def test_a_body_that_is_slower_is_refused(late: Body) -> None:
    with pytest.raises(ClientTooSlow, match="1000 bytes"):
        asyncio.run(late.read())


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything comes too slowly."""
    monkeypatch.setattr(arrivals, "_GRACE_SECONDS", -1.0)
    monkeypatch.setattr(arrivals, "STEADY_RATE", 1e12)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_an_upload_that_comes_slowly_gives_its_place_to_another(
    small: LiveServer, clip: bytes, text: str, share: float
) -> None:
    with small.client(OTHER_KEY) as client:
        request = client.build_request("POST", TRANSCRIPTIONS, files={"file": clip})
    with send_raw(small, request, share=share) as slow:
        eventually(lambda: running(small, "live"))
        assert upload(small, clip).json()["text"] == text
        slow.settimeout(30)  # it is told at once, and not when its own time is over
        said = slow.recv(10_000)
        said += slow.recv(10_000) if b"{" not in said else b""
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"others needed its place" in said


@pytest.mark.usefixtures("hurried")
def test_a_download_that_comes_slowly_gives_its_place_to_another(
    small: LiveServer, clip: bytes, text: str, host: AudioHost
) -> None:
    slow = Answer(clip, pause_at=len(clip) // 2)
    with ThreadPoolExecutor() as threads, small.client(OTHER_KEY) as other:
        url = host.put("/slow.wav", slow)
        first = threads.submit(other.post, FROM_URL, json={"audio_file_url": url})
        assert slow.paused.wait(PATIENCE_SECONDS)
        assert ask_url(small, host.put("/quick.wav", Answer(clip))).json()["text"] == text
        error = error_of(first.result(), 504)
    assert "needed the place" in error["message"]
    assert error["param"] == "audio_file_url"
    assert slow.abandoned.wait(PATIENCE_SECONDS)


def test_what_a_stopping_server_cuts_off_is_told_to_come_back(
    clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor() as threads:
        with LiveServer(model="scripted", apikey=KEY, shutdown_seconds=1) as server:
            gate = Gate(server, monkeypatch)
            gate.free = 0
            answer = threads.submit(upload, server, clip)
            eventually(lambda: gate.arrived)
        response: httpx.Response = answer.result()
    assert error_of(response, 503)["code"] == "shutting_down"
    assert retry_after(response)


def test_made_up_methods_do_not_grow_the_metrics(scripted: LiveServer) -> None:
    line = 'reflector_requests_total{method="other",route="unmatched",status="401"}'
    before = metric(scripted, line)
    with scripted.client(key=None) as client:
        for number in range(3):
            client.request(f"EVIL{number}", "/x")
    assert eventually(lambda: metric(scripted, line) == before + 3)
    with scripted.client() as client:
        assert "EVIL" not in client.get("/metrics").text
