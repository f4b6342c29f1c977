"""The line that each request leaves in the log."""

from __future__ import annotations

import logging
import re
import shlex

import pytest

from reflector_gpu.api.middleware import value_of
from reflector_gpu.errors import EngineNotLoaded
from tests.api.support import TRANSCRIPTIONS, Gate, eventually
from tests.live import LiveServer


def test_a_request_has_an_id_and_one_line_in_the_log(
    scripted: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflector_gpu.access")
    with scripted.client() as client:
        own = client.get("/v1/models?secret=hush", headers={"X-Request-ID": "mine-1"})
        made = client.get("/nowhere")
        client.get("/health/live")
    assert own.headers["X-Request-ID"] == "mine-1"
    assert re.fullmatch("[0-9a-f]{16}", made.headers["X-Request-ID"])
    made_id = made.headers["X-Request-ID"]
    own_line, made_line = eventually(lambda: _lines(caplog, "mine-1", made_id))
    fixed = r"GET /v1/models 200 \d+\.\d{3}s"
    assert re.fullmatch(rf"{fixed} id=mine-1 client=127\.0\.0\.1 key=0 ignored=secret", own_line)
    assert made_line.startswith("GET /nowhere 404 ")
    assert 'reason="There is no /nowhere here' in made_line


def _lines(caplog: pytest.LogCaptureFixture, *ids: str) -> list[str]:
    """The one log line of each request, once all are there; other tests' may still come in."""
    lines = [r.getMessage() for r in caplog.records if r.name == "reflector_gpu.access"]
    found = [line for one in ids for line in lines if f" id={one} " in line]
    return found if len(found) >= len(ids) else []


def _line(caplog: pytest.LogCaptureFixture, one: str) -> dict[str, str]:
    """The named fields of a request's line."""
    (line,) = eventually(lambda: _lines(caplog, one))
    _, _, _, _, *fields = shlex.split(line)
    return dict(field.split("=", 1) for field in fields)


def test_the_line_tells_what_became_of_the_request(
    scripted: LiveServer, caplog: pytest.LogCaptureFixture, clip: bytes, clips: list[bytes]
) -> None:
    caplog.set_level(logging.INFO, "reflector_gpu.access")
    with scripted.client() as client:
        for one, data in {"plain": {}, "streamed": {"stream": "true"}}.items():
            client.headers["X-Request-ID"] = one
            client.post(TRANSCRIPTIONS, files={"file": clip}, data=data)
        client.headers["X-Request-ID"] = "several"
        client.post(TRANSCRIPTIONS, files=[("files", clip) for clip in clips[:2]])
        client.headers["X-Request-ID"] = "bad"
        client.post(TRANSCRIPTIONS, files={"file": clip}, data={"model": "a\n=b"})
    for one, sent in {"plain": [clip], "streamed": [clip], "several": clips[:2]}.items():
        fields = _line(caplog, one)
        assert fields["model"] == "scripted"
        seconds = sum((len(wave) - 44) / 32_000 for wave in sent)
        assert float(fields["audio"].removesuffix("s")) == pytest.approx(seconds, abs=0.02)
        assert float(fields["queue"].removesuffix("s")) >= 0
        assert "reason" not in fields
    fields = _line(caplog, "bad")
    assert fields["reason"].startswith("model_not_found: ")
    assert "\n" not in fields["reason"]


def test_a_stream_that_fails_midway_says_why_in_the_log(
    scripted: LiveServer, gate: Gate, caplog: pytest.LogCaptureFixture, pauses: bytes
) -> None:
    caplog.set_level(logging.INFO, "reflector_gpu.access")
    gate.free = 1
    with (
        scripted.client() as client,
        client.stream(
            "POST",
            TRANSCRIPTIONS,
            files={"file": pauses},
            data={"stream": "true"},
            headers={"X-Request-ID": "cut"},
        ) as answer,
    ):
        lines = answer.iter_lines()
        assert "delta" in next(lines)
        eventually(lambda: gate.arrived > 1)
        gate.open(EngineNotLoaded("The engine gave up."))
        assert "The engine gave up." in "".join(lines)
    assert _line(caplog, "cut")["reason"] == "engine_failed: The engine gave up."


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain-1.5s", "plain-1.5s"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r"back\\slash"),
        ("a\nb\x1b[31m\x85", r"a\x0ab\x1b[31m\x85"),
        ("\u2028\u202e", r"\u2028\u202e"),
        ("é ж", '"é ж"'),
        ("x" * 1000, "x" * 300 + "..."),
    ],
)
def test_values_in_the_log_cannot_look_like_anything_else(text: str, written: str) -> None:
    assert value_of(text) == written


def test_a_client_cannot_write_fields_of_its_own(
    scripted: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflector_gpu.access")
    with scripted.client() as client:
        answer = client.get("/a key=7%0Akey=8", headers={"X-Request-ID": "mine key=9"})
    (line,) = eventually(lambda: _lines(caplog, answer.headers["X-Request-ID"]))
    assert line.startswith(r'GET "/a key=7\x0akey=8" 404 ')
    fields = dict(field.split("=", 1) for field in shlex.split(line)[4:])
    assert fields["key"] == "0"


@pytest.mark.parametrize("sent", ["", "two words", 'a=b"', "x" * 129, "é", "<b>"])
def test_an_id_that_could_be_mistaken_for_something_else_is_not_used(
    scripted: LiveServer, sent: str
) -> None:
    with scripted.client() as client:
        answer = client.get("/health", headers={b"X-Request-ID": sent.encode()})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"])


@pytest.mark.parametrize("sent", ["7b3a/req:1+2=", "x" * 128])
def test_an_id_of_the_client_is_used(scripted: LiveServer, sent: str) -> None:
    with scripted.client() as client:
        answer = client.get("/health", headers={"X-Request-ID": sent})
    assert answer.headers["X-Request-ID"] == sent
