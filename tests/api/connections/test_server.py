"""Connections that take up room: silent ones, slow ones, and more than there may be."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPResponse
from unittest.mock import Mock

import httpx
import pytest
from fastapi import FastAPI
from uvicorn.server import ServerState

from reflector_gpu.api import connection, server
from reflector_gpu.api.server import Config, Connection, ConnectionLimits, Seldom, Server
from reflector_gpu.settings import load_settings
from tests.api.support import (
    TRANSCRIPTIONS,
    Gate,
    error_of,
    eventually,
    retry_after,
    running,
    send_raw,
    upload,
)
from tests.live import KEY, LiveServer

Start = Callable[..., LiveServer]
Silent = Callable[[LiveServer, int], list[socket.socket]]

HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=x\r\n"


def dial(to: LiveServer) -> socket.socket:
    where = httpx.URL(to.url)
    return socket.create_connection((where.host, where.port or 80), timeout=60)


def ask(line: socket.socket) -> int:
    """The status of one request."""
    line.sendall(HEAD)
    return read_status(line)


def read_status(line: socket.socket) -> int:
    answer = HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status


def read_all(line: socket.socket) -> bytes:
    """What the server says until it closes the connection."""
    with line.makefile("rb") as answer:
        return answer.read()


def drip(line: socket.socket, data: bytes) -> bytes:
    """Send ``data`` again and again until the server ends it; what the server says."""

    def said() -> bool:
        line.sendall(data)
        return bool(select.select([line], [], [], 0.02)[0])

    eventually(said)
    return line.recv(10_000)


# Time-outs


def test_a_connection_that_says_nothing_is_closed(bare: Start) -> None:
    with dial(bare(header_seconds=0.1)) as line:
        assert read_all(line) == b""


def test_half_a_head_is_answered_408(bare: Start) -> None:
    with dial(bare(header_seconds=0.1)) as line:
        line.sendall(HEAD[:20])
        assert read_all(line).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_drips_is_answered_408(bare: Start) -> None:
    with dial(bare(header_seconds=1)) as line:
        line.sendall(HEAD[:-2])
        assert drip(line, b"A: b\r\n").startswith(b"HTTP/1.1 408 ")


def test_the_time_for_a_head_begins_with_each_request(bare: Start) -> None:
    with dial(bare(header_seconds=1, keep_alive_seconds=60)) as line:
        assert ask(line) == 200
        line.sendall(HEAD[:20])
        assert read_all(line).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("noise", [b"", b"\r\n"])
def test_a_connection_without_a_further_request_is_closed(bare: Start, noise: bytes) -> None:
    with dial(bare(header_seconds=60, keep_alive_seconds=0.1)) as line:
        line.sendall(HEAD + noise)
        assert b" 200 " in read_all(line)


def test_a_connection_may_have_many_requests(bare: Start) -> None:
    with dial(bare()) as line:
        for _ in range(3):
            assert ask(line) == 200


def test_a_body_that_goes_on_after_its_answer_is_not_read_for_ever(
    bare: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_REST_SECONDS", 0.3)
    with dial(bare(apikey=KEY)) as line:
        line.sendall(b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
        assert b" 401 " in line.recv(10_000)
        with pytest.raises(ConnectionError):
            eventually(lambda: line.send(b"x") and line.send(b"x") == 0)


def test_400_for_two_lengths_and_nothing_after_it_is_a_request(bare: Start) -> None:
    with dial(bare()) as line:
        line.sendall(
            b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HEAD
        )
        said = read_all(line)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in said
    assert b"Send Content-Length or Transfer-Encoding" in said
    assert said.count(b"HTTP/1.1") == 1


# Readers


def test_the_work_for_a_stream_that_nobody_reads_ends(
    bare: Start, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.1)
    to = bare(model="scripted", apikey=KEY, write_seconds=0.3)
    to.narrow()
    gate = Gate(to, monkeypatch)
    gate.free = 0
    with to.client() as client:
        request = client.build_request(
            "POST", TRANSCRIPTIONS, files={"file": clip}, data={"stream": "true"}
        )
    with send_raw(to, request):
        eventually(lambda: gate.arrived)
        monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 1e-6)  # fills the client's socket
        eventually(lambda: gate.cancelled == gate.arrived and not running(to, "live"))


def test_an_answer_that_nobody_reads_is_dropped(bare: Start) -> None:
    to = bare(write_seconds=0.2)
    to.narrow()
    page = httpx.get(f"{to.url}/docs").text
    path = page.split('script src="')[1].split('"')[0]
    with dial(to) as line:
        line.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        eventually(lambda: not to.connections)


class Transport(asyncio.Transport):
    """One that holds ``unread`` bytes for a client."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = 0
        self.aborted = False

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


def test_a_client_that_reads_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[Callable[[], None]] = []
    limits = ConnectionLimits(most=1, head=1, idle=1, write=30)
    with closing(asyncio.new_event_loop()) as loop:

        def call_later(_: float, act: Callable[[], None]) -> Mock:
            later.append(act)
            return Mock()

        monkeypatch.setattr(loop, "call_later", call_later)
        line = Connection(Config(FastAPI(), limits, 0), ServerState(), {}, loop)
        transport = Transport()
        line.connection_made(transport)
        transport.unread = 1_000_000
        line.pause_writing()
        for read in (30_000, 500_000):
            transport.unread -= read
            later[-1]()
            assert not transport.aborted
        transport.unread -= 29_999
        later[-1]()
        assert transport.aborted


# Too many


@pytest.fixture
def silent() -> Iterator[Silent]:
    """Open connections that say nothing."""
    with ExitStack() as lines:
        yield lambda to, count: [lines.enter_context(dial(to)) for _ in range(count)]


def test_a_silent_connection_makes_room_for_a_request(
    bare: Start,
    silent: Silent,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_SELDOM_SECONDS", 3600.0)
    to = bare(connections=4, header_seconds=60)
    with caplog.at_level(logging.WARNING, "reflector_gpu.api.server"):
        for _ in range(3):
            silent(to, 10)
            assert httpx.get(f"{to.url}/health").status_code == 200
            eventually(lambda: to.connections <= 4)
    assert caplog.text.count("All 4 connections") == 1


def test_the_connection_that_waited_longest_makes_room(bare: Start, silent: Silent) -> None:
    to = bare(connections=2, header_seconds=60)
    first, second, third = silent(to, 3)
    assert read_all(first) == b""
    for line in (third, second):
        assert ask(line) == 200


def test_a_connection_that_still_sends_a_body_makes_room_last(bare: Start, silent: Silent) -> None:
    to = bare(apikey=KEY, connections=2, header_seconds=60)
    with dial(to) as sending:
        sending.sendall(b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
        assert read_status(sending) == 401
        first, _ = silent(to, 2)
        assert read_all(first) == b""
        sending.sendall(b"more")
        silent(to, 1)
        eventually(lambda: to.connections == 2)
        sending.setblocking(False)
        with pytest.raises(BlockingIOError):  # it is open, and nothing has been said
            sending.recv(1)


def test_503_when_all_connections_have_requests(
    bare: Start, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = bare(model="scripted", apikey=KEY, connections=1)
    gate = Gate(to, monkeypatch)
    gate.free = 0
    with ThreadPoolExecutor() as threads:
        first = threads.submit(upload, to, clip)
        eventually(lambda: gate.arrived)
        with to.client() as client:
            response = client.get("/health")
            assert error_of(response, 503)["code"] == "unavailable"
            assert retry_after(response) == 1
            gate.open()
            assert first.result().status_code == 200
            assert eventually(lambda: client.get("/health").status_code == 200)


def test_no_request_is_lost_when_many_come_at_once(
    bare: Start, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_GRACE_SECONDS", 60.0)  # they have all the time to send it
    to = bare(connections=4)
    lines = silent(to, 30)
    for line in lines:
        line.sendall(HEAD)
    found = [read_status(line) for line in lines]
    assert set(found) <= {200, 503}
    assert found.count(200) >= 4


@pytest.mark.parametrize(
    ("wanted", "files", "most"), [(512, 1024, 512), (512, 128, 64), (9, -1, 9)]
)
def test_half_of_the_files_are_for_connections(
    wanted: int, files: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, -1))
    assert ConnectionLimits.of(load_settings(connections=wanted)).most == most


def test_a_warning_is_repeated_after_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    warn = Seldom(lambda: now)
    for now in (0.0, 1.0, 59.0, 60.0, 61.0):
        warn("at %g", now)
    assert [record.getMessage() for record in caplog.records] == ["at 0", "at 60"]


def test_a_server_that_ends_without_files_to_open_does_not_fill_its_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """asyncio listens again a second after it could open no file, once for each connection that it
    could not accept. By then the socket may be closed."""
    config = Config(FastAPI(), ConnectionLimits.of(load_settings()), shutdown_seconds=1)
    config.port = 0
    config.load()
    ending = Server(config)
    ending.lifespan = config.lifespan_class(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        pass

    async def listen_again() -> str:
        caplog.clear()
        loop = asyncio.get_running_loop()
        loop.call_soon(loop._start_serving, None, closed)  # type: ignore[attr-defined]  # as it does
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return caplog.text

    async def end() -> None:
        await ending.startup()
        assert "_start_serving" in await listen_again()
        ending.should_exit = True
        assert not await listen_again()
        await ending.shutdown()

    asyncio.run(end())
