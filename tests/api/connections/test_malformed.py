"""What is no HTTP, or more of it than a head may be."""

from __future__ import annotations

import socket
from http.client import HTTPResponse

import httpx
import pytest

from tests.api.support import error_of
from tests.live import KEY, LiveServer


def answer_to(server: LiveServer, message: bytes) -> httpx.Response:
    where = httpx.URL(server.url)
    with socket.create_connection((where.host, where.port or 80), timeout=60) as line:
        line.sendall(message)
        answer = HTTPResponse(line)
        answer.begin()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def failures(server: LiveServer) -> list[str]:
    """The metrics of requests that were the server's fault."""
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return [line for line in lines if 'status="500"' in line]


@pytest.mark.parametrize(
    "message",
    [
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
        b"POST /asr HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_form_of_all_errors(
    scripted: LiveServer, message: bytes
) -> None:
    response = answer_to(scripted, message)
    assert "no valid HTTP/1.1 request" in error_of(response, 400)["message"]
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Connection"] == "close"


@pytest.mark.parametrize("beginning", [b"GET /health?a=", b"GET /health HTTP/1.1\r\nA: "])
def test_a_head_without_end_is_refused_with_what_to_do(
    scripted: LiveServer, beginning: bytes
) -> None:
    response = answer_to(scripted, beginning + b"0" * 70_000)
    assert "send long values in the body" in error_of(response, 413)["message"]


@pytest.mark.parametrize("path", ["/health", "/v1/audio/transcriptions"])
def test_a_malformed_chunk_is_the_clients_fault(
    scripted: LiveServer, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    before = failures(scripted)
    response = answer_to(scripted, head.encode() + b"not a length\r\n")
    assert "chunks are malformed" in error_of(response, 400)["message"]
    assert failures(scripted) == before
    assert not [record for record in caplog.records if record.exc_info]
