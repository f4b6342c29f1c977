"""POST /pad: silence before a recording that is fetched, sent on to where the client says."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.types import Samples
from tests.api.conftest import OTHER_KEY
from tests.api.hosts import Answer, AudioHost
from tests.api.receivers import Receiver, Reception
from tests.api.support import (
    NOBODY,
    encoded,
    error_of,
    eventually,
    hurry,
    running,
    send_raw,
    wav,
)
from tests.audio.decode.test_padding import begins, read, tone
from tests.live import KEY, LiveServer
from tests.waiting import PATIENCE_SECONDS

PAD = "/pad"
SIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0123456789abcdef&x=a%2Fb"
AWAY = "http://169.254.169.254/latest"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """One that does not try again."""
    with LiveServer(
        wait=False, model="scripted", apikey=KEY, url_allow="127.0.0.1", url_retries=0
    ) as server:
        yield server


@pytest.fixture(scope="module")
def track() -> bytes:
    """Six seconds of sound."""
    return encoded(tone(6), "webm", "libopus")


@pytest.fixture
def slow(track: bytes, host: AudioHost) -> Answer:
    """The track, whose host stops after two thirds."""
    answer = Answer(track, pause_at=len(track) * 2 // 3)
    host.put("/slow.webm", answer)
    return answer


def fields(track_url: str, output_url: str, seconds: object = 2.5) -> dict[str, object]:
    return {
        "track_url": track_url,
        "output_url": output_url,
        "start_time_seconds": seconds,
        "track_index": 3,
    }


def ask(server: LiveServer, body: object) -> httpx.Response:
    with server.client() as client:
        return client.post(PAD, json=body)


def ask_raw(server: LiveServer, text: str) -> httpx.Response:
    with server.client() as client:
        return client.post(PAD, content=text)


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


# Receivers that do not take it


DENIED = b"""<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired
 &amp; so on</Message><StringToSign>0123456789abcdef</StringToSign></Error>"""


@pytest.mark.parametrize(
    ("reception", "status", "code", "said"),
    [
        (Reception(403, said=DENIED), 502, "upstream_failed", "AccessDenied, Request has expired"),
        (Reception(404, said=b"no bucket"), 502, "upstream_failed", "404: no bucket"),
        (Reception(503, said=b"<h1>Slow down</h1>"), 502, "upstream_failed", "503: Slow down"),
        (Reception(500, said=b"bad 0123456789abcdef a/b"), 502, "upstream_failed", "500: bad"),
        (Reception(400), 502, "upstream_failed", "(400)"),
        (Reception(cut_at=100), 502, "upstream_failed", "broke off"),
        (Reception(307), 502, "upstream_failed", "redirects to something that is no URL"),
        (Reception(307, headers={"Location": "/loop"}), 502, "upstream_failed", "too often"),
        (Reception(307, headers={"Location": AWAY}), 403, "url_forbidden", "not a public one"),
    ],
)
def test_the_error_says_that_the_receiver_did_not_take_the_file(
    server: LiveServer,
    host: AudioHost,
    receiver: Receiver,
    track: bytes,
    caplog: pytest.LogCaptureFixture,
    reception: Reception,
    status: int,
    code: str,
    said: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    source = host.put("/track.webm?X-Amz-Signature=hush-hush", Answer(track))
    answer = ask(server, fields(source, receiver.at(f"/loop?{SIGNED}", reception)))
    error = error_of(answer, status)
    assert (error["code"], error["param"]) == (code, "output_url")
    assert said in error["message"]
    eventually(lambda: f"POST {PAD} {status}" in caplog.text)
    for secret in ("0123456789abcdef", "hush-hush"):
        assert secret not in answer.text
        assert secret not in caplog.text


def test_a_receiver_that_does_not_answer_is_waited_for_only_so_long(
    server: LiveServer,
    host: AudioHost,
    receiver: Receiver,
    track: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hurry(server.service.padding._sender, monkeypatch)
    source = host.put("/track.webm", Answer(track))
    output = receiver.at("/silent", Reception(silent=True))
    error = error_of(ask(server, fields(source, output)), 504)
    assert (error["code"], error["param"]) == ("upstream_timeout", "output_url")
    assert "does not answer in time" in error["message"]


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


# What cannot be done


@pytest.mark.parametrize("seconds", [0, -1, 18_000.5, "5", "soon", None, True, [1]])
def test_the_silence_has_to_be_above_zero_and_five_hours_at_most(
    server: LiveServer, seconds: object
) -> None:
    error = error_of(ask(server, fields(NOBODY, NOBODY, seconds)), 400)
    assert error["param"] == "start_time_seconds"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_the_silence_has_to_be_a_finite_number(server: LiveServer, number: str) -> None:
    text = json.dumps(fields(NOBODY, NOBODY, 0.125)).replace("0.125", number)
    error_of(ask_raw(server, text), 400)


@pytest.mark.parametrize("name", ["track_url", "output_url", "start_time_seconds"])
def test_what_is_missing_is_named(server: LiveServer, name: str) -> None:
    body = fields(NOBODY, NOBODY)
    del body[name]
    assert error_of(ask(server, body), 400)["param"] == name


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_the_body_is_a_json_object(server: LiveServer, text: str) -> None:
    error_of(ask_raw(server, text), 400)


@pytest.mark.parametrize("name", ["track_url", "output_url"])
@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("", 400),
        ("meeting.webm", 400),
        ("http://", 400),
        ("ftp://example.com/a", 403),
        ("file:///etc/passwd", 403),
        ("http://10.0.0.1/a", 403),
        (AWAY, 403),
        ("http://[::1]/a", 403),
        ("http://0x7f.1/a", 403),
    ],
)
def test_a_bad_url_is_the_fault_of_its_field(
    server: LiveServer,
    host: AudioHost,
    receiver: Receiver,
    track: bytes,
    name: str,
    url: str,
    status: int,
) -> None:
    output = receiver.at("/never", Reception())
    body = {**fields(host.put("/track.webm", Answer(track)), output), name: url}
    assert error_of(ask(server, body), status)["param"] == name
    assert not receiver.got("/never")


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Answer(b"no audio"), 400, "undecodable_audio"),
        (Answer(b""), 400, "undecodable_audio"),
        (Answer(status=404), 404, "audio_not_found"),
        (Answer(status=403), 502, "upstream_failed"),
        (Answer(b"x" * 9, headers={"Content-Length": "999999999999"}), 413, "too_large"),
    ],
)
def test_a_track_that_cannot_be_padded_is_put_nowhere(
    server: LiveServer,
    host: AudioHost,
    receiver: Receiver,
    answer: Answer,
    status: int,
    code: str,
) -> None:
    output = receiver.at("/nothing", Reception())
    error = error_of(ask(server, fields(host.put("/bad.webm", answer), output)), status)
    assert (error["code"], error["param"]) == (code, "track_url")
    assert not receiver.got("/nothing")


def test_too_long_a_track(small: LiveServer, host: AudioHost, receiver: Receiver) -> None:
    source = host.put("/long.wav", Answer(wav(tone(10.5))))
    error = error_of(ask(small, fields(source, receiver.at("/long", Reception()))), 413)
    assert (error["code"], error["param"]) == ("too_large", "track_url")


def test_padding_needs_a_key(small: LiveServer) -> None:
    for key, status in ((None, 401), ("wrong", 401), (OTHER_KEY, 400)):
        with small.client(key) as client:
            error_of(client.post(PAD, json={}), status)


def test_a_timeout_of_the_client_ends_the_padding(
    server: LiveServer, host: AudioHost, receiver: Receiver, slow: Answer
) -> None:
    body = fields(host.put("/slow.webm", slow), receiver.at("/late", Reception()))
    for seconds in ("0.4", "4", "20"):  # the download has to have begun by then
        with server.client() as client:
            answer = client.post(PAD, json=body, headers={"X-Request-Timeout": seconds})
        assert error_of(answer, 504)["code"] == "deadline_exceeded"
        if slow.paused.is_set():
            break
    assert slow.abandoned.wait(PATIENCE_SECONDS)


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
