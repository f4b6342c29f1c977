"""What one server, one key and one request may take: audio that waits, places, time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from reflector_gpu.api import connection
from tests.api.support import (
    FROM_URL,
    TRANSCRIPTIONS,
    UPLOAD_ROUTES,
    Gate,
    error_of,
    eventually,
    metric,
    retry_after,
    running,
    trickled,
    upload,
)
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]


# Audio and keys


def test_429_while_more_audio_waits_than_the_server_takes_on(
    bare: START, pauses: bytes, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bare(model="scripted", apikey=KEY, live_audio_seconds=2)
    gate = Gate(server, monkeypatch)
    gate.free = 0
    with ThreadPoolExecutor() as threads:
        long = threads.submit(upload, server, pauses)
        eventually(lambda: metric(server, 'reflector_backlog_seconds{class="live"}') > 2)
        response = upload(server, clip)
        error = error_of(response, 429)
        assert error["code"] == "overloaded"
        assert "seconds of audio" in error["message"]
        assert retry_after(response) >= 1
        gate.open()
        assert long.result().status_code == 200
    eventually(lambda: metric(server, 'reflector_backlog_seconds{class="live"}') == 0)
    assert upload(server, clip).status_code == 200


def test_429_for_a_key_that_has_its_requests_in_work_and_for_no_other(
    bare: START, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bare(model="scripted", apikey=f"{KEY}, other", key_requests=1)
    gate = Gate(server, monkeypatch)
    gate.free = 0
    with ThreadPoolExecutor() as threads:
        first = threads.submit(upload, server, clip)
        eventually(lambda: gate.arrived)
        assert "This client" in error_of(upload(server, clip), 429)["message"]
        gate.open()
        with server.client("other") as client:
            answer = client.post(TRANSCRIPTIONS, files={"file": clip})
        assert answer.status_code == 200
        assert first.result().status_code == 200


def test_429_for_a_key_that_has_used_its_audio_of_the_hour(bare: START, clip: bytes) -> None:
    server = bare(model="scripted", apikey=f"{KEY}, other", key_hourly_audio_seconds=0.5)
    assert upload(server, clip).status_code == 200
    response = upload(server, clip)
    assert "of this hour" in error_of(response, 429)["message"]
    assert 3_500 <= retry_after(response) <= 3_600
    with server.client("other") as client:
        assert client.post(TRANSCRIPTIONS, files={"file": clip}).status_code == 200


# Deadlines


@pytest.mark.parametrize("route", [*UPLOAD_ROUTES, FROM_URL])
@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", ""])
def test_400_for_a_timeout_that_is_no_number_of_seconds(
    scripted: LiveServer, route: str, value: str
) -> None:
    with scripted.client() as client:
        response = client.post(route, headers={"X-Request-Timeout": value})
    assert error_of(response, 400)["param"] == "X-Request-Timeout"


@pytest.fixture
def stuck(bare: START, monkeypatch: pytest.MonkeyPatch) -> tuple[LiveServer, Gate]:
    server = bare(model="scripted", apikey=KEY, url_allow="127.0.0.1")
    gate = Gate(server, monkeypatch)
    gate.free = 0
    return server, gate


def test_504_when_the_clients_time_is_over_and_its_work_ends(
    stuck: tuple[LiveServer, Gate], clip: bytes
) -> None:
    server, gate = stuck
    with server.client() as client:
        client.headers["X-Request-Timeout"] = "0.3"
        response = client.post(TRANSCRIPTIONS, files={"file": clip})
    assert error_of(response, 504)["code"] == "deadline_exceeded"
    eventually(lambda: gate.cancelled == gate.arrived and not running(server, "live"))


def test_a_stream_whose_time_is_over_says_so_and_ends(
    stuck: tuple[LiveServer, Gate], pauses: bytes
) -> None:
    server, gate = stuck
    events: list[str] = []
    for seconds in ("1", "4", "20"):  # the first chunk has to be done by then
        gate.free = 1
        with server.client() as client:
            client.headers["X-Request-Timeout"] = seconds
            response = client.post(TRANSCRIPTIONS, files={"file": pauses}, data={"stream": "true"})
        events = [line for line in response.text.splitlines() if line]
        if "transcript.text.delta" in events[0]:
            break
    assert response.status_code == 200
    assert "transcript.text.delta" in events[0]
    assert "deadline_exceeded" in events[-2]
    assert events[-1] == "data: [DONE]"
    eventually(lambda: gate.cancelled and not running(server, "live"))


def test_the_servers_own_limit_holds_however_long_a_client_would_wait(
    bare: START, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bare(model="scripted", apikey=KEY, request_seconds=0.3)
    Gate(server, monkeypatch).free = 0
    with server.client() as client:
        client.headers["X-Request-Timeout"] = "1e9"
        response = client.post(TRANSCRIPTIONS, files={"file": clip})
    assert "0.3 seconds" in error_of(response, 504)["message"]


def test_a_request_that_is_done_in_time_does_not_notice(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client() as client:
        client.headers["X-Request-Timeout"] = "60"
        assert client.post(TRANSCRIPTIONS, files={"file": clip}).status_code == 200


def test_408_for_a_body_that_trickles(
    bare: START, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SLOWEST_RATE", 1e9)
    server = bare(model="scripted", apikey=KEY, body_seconds=1)
    with server.client() as client:
        request = client.build_request("POST", TRANSCRIPTIONS, files={"file": clip})
    assert trickled(server, request).startswith(b"HTTP/1.1 408 ")
    eventually(lambda: not running(server, "live"))
