"""POST /pad where something is wrong: with the request, the track or the receiver."""

from __future__ import annotations

import json
import logging

import httpx
import pytest

from tests.api.conftest import OTHER_KEY
from tests.api.hosts import Answer, AudioHost
from tests.api.padding.asking import PAD, SIGNED, ask, fields
from tests.api.receivers import Receiver, Reception
from tests.api.support import (
    NOBODY,
    error_of,
    eventually,
    hurry,
    wav,
)
from tests.audio.decode.test_padding import tone
from tests.live import LiveServer
from tests.waiting import PATIENCE_SECONDS

AWAY = "http://169.254.169.254/latest"


def ask_raw(server: LiveServer, text: str) -> httpx.Response:
    with server.client() as client:
        return client.post(PAD, content=text)


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
