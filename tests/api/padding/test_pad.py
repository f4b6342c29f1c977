"""POST /pad: silence before a recording that is fetched, sent on to where the client says."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

import httpx
import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.types import Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.padding.asking import PAD, SIGNED, ask, fields
from tests.api.receivers import Receiver, Reception
from tests.api.support import (
    encoded,
    error_of,
    eventually,
    running,
    send_raw,
)
from tests.audio.decode.test_padding import begins, read
from tests.live import LiveServer
from tests.waiting import PATIENCE_SECONDS


@dataclass
class Asked:
    """A request whose answer comes when its track does."""

    answer: httpx.Response | None = None


def check_padded(body: bytes, seconds: float, padding: float = 2.5) -> None:
    webm = read(body)
    assert (webm.codec, webm.rate, webm.layout) == ("opus", 48_000, "stereo")
    assert begins(webm) == pytest.approx(padding, abs=0.01)
    assert webm.loudness(0, padding - 0.01) < 1e-4
    assert webm.seconds == pytest.approx(padding + seconds, abs=0.03)


def test_the_padded_track_is_put_with_its_length_and_nothing_that_is_not_signed(
    server: LiveServer, host: AudioHost, receiver: Receiver, track: bytes
) -> None:
    source = host.put("/track.webm", Answer(track))
    target = f"/bucket/a%2Fb%20c.webm?{SIGNED}"
    answer = ask(server, fields(source, receiver.at(target, Reception(chunked=411))))
    (put,) = receiver.got("/bucket/a%2Fb%20c.webm")[-1:]
    assert answer.json() == {"size": len(put.body), "cancelled": False}
    assert put.target == target
    assert put.headers.keys() == {"host", "user-agent", "content-length"}
    check_padded(put.body, 6)


@pytest.mark.parametrize("container", ["mp3", "ogg", "webm"])
def test_any_recording(
    server: LiveServer,
    host: AudioHost,
    receiver: Receiver,
    snippets: list[Samples],
    container: str,
) -> None:
    codec = {"mp3": "libmp3lame", "ogg": "libopus", "webm": "libopus"}[container]
    source = host.put(f"/any.{container}", Answer(encoded(snippets[0], container, codec)))
    body = fields(source, receiver.at(f"/{container}", Reception()), 61.5)
    assert ask(server, body).status_code == 200
    webm = read(receiver.got(f"/{container}")[-1].body)
    assert webm.loudness(0, 61.5) < 1e-4
    assert webm.seconds == pytest.approx(61.5 + len(snippets[0]) / 16_000, abs=0.1)


# While it downloads


def pad_slow(
    server: LiveServer, slow: Answer, host: AudioHost, output: str
) -> tuple[Asked, threading.Thread]:
    """Ask for the slow track to be padded; its host has stopped when this returns."""
    asked = Asked()
    source = host.put("/slow.webm", slow)

    def work() -> None:
        asked.answer = ask(server, fields(source, output))

    thread = threading.Thread(target=work)
    thread.start()
    assert slow.paused.wait(PATIENCE_SECONDS)
    return asked, thread


def test_a_receiver_of_chunks_gets_the_beginning_before_the_end_has_come(
    server: LiveServer, host: AudioHost, receiver: Receiver, slow: Answer
) -> None:
    reception = Reception()
    asked, thread = pad_slow(server, slow, host, receiver.at("/chunks", reception))
    assert reception.begun.wait(PATIENCE_SECONDS)
    assert not slow.resumed.is_set()
    slow.resumed.set()
    thread.join()
    (put,) = receiver.got("/chunks")
    assert put.chunked
    assert asked.answer is not None
    assert asked.answer.json() == {"size": len(put.body), "cancelled": False}
    check_padded(put.body, 6)


@pytest.mark.parametrize("abrupt", [False, True])
@pytest.mark.parametrize("status", [400, 411, 501, 503])
def test_a_receiver_that_wants_the_length_gets_it_without_a_second_encoding(
    server: LiveServer,
    host: AudioHost,
    receiver: Receiver,
    slow: Answer,
    status: int,
    abrupt: bool,
) -> None:
    path = f"/length-{status}-{abrupt}"
    reception = Reception(chunked=status, abrupt=abrupt)
    asked, thread = pad_slow(server, slow, host, receiver.at(path, reception))
    eventually(lambda: receiver.got(path))
    slow.resumed.set()
    thread.join()
    refused, taken = receiver.got(path)
    assert (refused.chunked, taken.chunked) == (True, False)
    assert int(taken.headers["content-length"]) == len(taken.body)
    assert asked.answer is not None
    assert asked.answer.json()["size"] == len(taken.body)
    check_padded(taken.body, 6)
    assert read(taken.body).duration == pytest.approx(8.5, abs=0.03)


def test_a_receiver_that_breaks_off_gets_everything_once_more(
    server: LiveServer, host: AudioHost, receiver: Receiver, slow: Answer
) -> None:
    reception = Reception(cut_at=1000)
    asked, thread = pad_slow(server, slow, host, receiver.at("/cut", reception))
    assert reception.begun.wait(PATIENCE_SECONDS)
    slow.resumed.set()
    thread.join()
    assert asked.answer is not None
    assert asked.answer.status_code == 200
    check_padded(receiver.got("/cut")[-1].body, 6)


def test_a_download_that_breaks_off_leaves_no_half_file(
    server: LiveServer, host: AudioHost, receiver: Receiver, track: bytes
) -> None:
    reception = Reception()
    answer = Answer(track, pause_at=len(track) * 2 // 3, cut_at=len(track) * 2 // 3)
    asked, thread = pad_slow(server, answer, host, receiver.at("/half", reception))
    assert reception.begun.wait(PATIENCE_SECONDS)
    answer.resumed.set()
    thread.join()
    assert asked.answer is not None
    error = error_of(asked.answer, 502)
    assert (error["code"], error["param"]) == ("upstream_failed", "track_url")
    assert reception.left.wait(PATIENCE_SECONDS), (
        "the body of the upload was ended as if it were complete"
    )
    assert not receiver.got("/half")


def test_a_redirect_of_the_upload_is_followed(
    server: LiveServer, host: AudioHost, receiver: Receiver, track: bytes
) -> None:
    receiver.at("/elsewhere", Reception())
    moved = Reception(307, headers={"Location": "/elsewhere?signed=again"})
    source = host.put("/track.webm", Answer(track))
    assert ask(server, fields(source, receiver.at("/moved", moved))).status_code == 200
    (put,) = receiver.got("/elsewhere")
    assert put.target == "/elsewhere?signed=again"
    check_padded(put.body, 6)


def test_a_busy_receiver_is_asked_again(
    scripted: LiveServer, host: AudioHost, receiver: Receiver, track: bytes
) -> None:
    source = host.put("/track.webm", Answer(track))
    output = receiver.at("/busy", Reception(cut_at=5000))
    assert ask(scripted, fields(source, output)).status_code == 200
    assert len(receiver.got("/busy")) == 2


# Clients that leave


@pytest.mark.parametrize("stalls_at", [0.0, 0.6, 1.0])
def test_a_client_that_leaves_ends_the_work(
    server: LiveServer,
    host: AudioHost,
    receiver: Receiver,
    track: bytes,
    monkeypatch: pytest.MonkeyPatch,
    stalls_at: float,
) -> None:
    """Before there is sound, in the middle of download and upload, and before the answer."""
    spools: list[Spool] = []
    opened = Spool.__init__

    def remember(spool: Spool, *given: object, **more: object) -> None:
        spools.append(spool)
        opened(spool, *given, **more)  # type: ignore[arg-type]  # what `opened` takes

    loop = server._server.servers[0].get_loop()
    tasks = len(asyncio.all_tasks(loop))
    monkeypatch.setattr(Spool, "__init__", remember)
    answer, reception = Answer(track), Reception(silent=True)
    if stalls_at < 1:
        answer.pause_at = int(len(track) * stalls_at)
    source = host.put("/leaving.webm", answer)
    output = receiver.at(f"/leaving-{stalls_at}", reception)
    with server.client() as client:
        request = client.build_request("POST", PAD, json=fields(source, output))
    connection = send_raw(server, request)
    if answer.pause_at is not None:
        assert answer.paused.wait(PATIENCE_SECONDS)
    if stalls_at:
        assert reception.begun.wait(PATIENCE_SECONDS)
    eventually(lambda: running(server, "file") == 1)
    connection.close()
    eventually(lambda: running(server, "file") == 0)
    assert len(spools) == 2
    eventually(lambda: all(spool.closed for spool in spools))
    eventually(lambda: "encode" not in {thread.name for thread in threading.enumerate()})
    eventually(lambda: len(asyncio.all_tasks(loop)) <= tasks)
    if answer.pause_at is not None:
        assert answer.abandoned.wait(PATIENCE_SECONDS), "the download goes on"
    if 0 < stalls_at < 1:
        assert reception.left.wait(PATIENCE_SECONDS), "the upload goes on"
