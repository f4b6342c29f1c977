"""Neither a client that stalls nor a server that stops leaves anything hanging."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.support import (
    FROM_URL,
    TRANSCRIPTIONS,
    Gate,
    connect,
    error_of,
    eventually,
    metric,
    retry_after,
    running,
    send_raw,
    upload,
)
from tests.live import KEY, LiveServer


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, FROM_URL])
def test_a_body_that_stops_arriving_gives_its_place_back(clip: bytes, path: str) -> None:
    with LiveServer(model="scripted", apikey=KEY, body_seconds=0.2) as server:
        with connect(server) as client:
            body = {"files": {"file": clip}} if path == TRANSCRIPTIONS else {"json": {"a": "b"}}
            request = client.build_request("POST", path, **body)
        connection = send_raw(server, request, share=0.5)
        assert b" 408 " in connection.recv(10_000)
        connection.close()
        eventually(lambda: not running(server, "live") and not running(server, "file"))


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
    with connect(scripted, key=None) as client:
        for number in range(3):
            client.request(f"EVIL{number}", "/x")
    assert eventually(lambda: metric(scripted, line) == before + 3)
    with connect(scripted) as client:
        assert "EVIL" not in client.get("/metrics").text
