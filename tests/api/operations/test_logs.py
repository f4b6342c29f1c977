"""The server's log: one form, one line a record, nothing of what must stay secret."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from reflector_gpu import logs
from reflector_gpu.errors import ReflectorError
from tests.api.support import TRANSCRIPTIONS, eventually
from tests.live import LiveServer
from tests.runtime.engines import Obedient
from tests.runtime.pools import outcomes, pooled

T = TypeVar("T")

NAMES = ("", "reflector_gpu", "uvicorn")

INFO = logs.LogOptions("info")
JSON = logs.LogOptions("info", "json")


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging is as before afterwards."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in NAMES}
    monkeypatch.setattr(logs, "_chosen", None)  # workers that start meanwhile log alike
    root.handlers.clear()  # pytest's own would be closed
    # A server may still log what the test before asked of it, to the stream of that test.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["reflector_gpu", "reflector_gpu", "uvicorn", "uvicorn", "httpx"]),
        ("info", ["reflector_gpu", "uvicorn", "httpx"]),
        ("warning", ["uvicorn", "httpx"]),
        ("error", []),
    ],
)
def test_each_log_level_shows_the_right_loggers(
    capsys: pytest.CaptureFixture[str], level: logs.LogLevel, heard: list[str]
) -> None:
    logs.configure(logs.LogOptions(level))
    logging.getLogger("reflector_gpu.x").debug("one")
    logging.getLogger("reflector_gpu.x").info("two")
    logging.getLogger("uvicorn.error").info("three")
    logging.getLogger("uvicorn.error").warning("four")
    logging.getLogger("httpx").info("GET https://a.host/?signature=secret")
    logging.getLogger("httpx").warning("five")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2].partition(".")[0].rstrip(":") for line in lines] == heard


def test_what_clients_send_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(INFO)
    logging.getLogger("reflector_gpu").info("GET %s", "/a\n2026 ERROR \x1b[31m\x85")
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(r"GET /a\x0a2026 ERROR \x1b[31m\x85")


SNEAKY = [
    ("\u2028", r"\u2028"),
    ("\u202e", r"\u202e"),
    ("\xa0", r"\xa0"),
    ("\U000e0041", r"\U000e0041"),
]


@pytest.mark.parametrize(("sent", "shown"), SNEAKY)
def test_what_does_not_print_is_escaped(
    capsys: pytest.CaptureFixture[str], sent: str, shown: str
) -> None:
    logs.configure(INFO)
    try:
        raise ValueError(f"a{sent}b")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("c%sé😀", sent)
    first, *_, last = capsys.readouterr().err.split("\n")[:-1]
    assert first.endswith(f"c{shown}é😀")
    assert last == f"ValueError: a{shown}b"


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(INFO)
    try:
        raise ValueError("a bug")
    except ValueError:
        logging.getLogger("reflector_gpu").exception("failed")
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: a bug"


def test_a_request_cancelled_at_the_end_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(INFO)
    error = asyncio.CancelledError()
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    assert capsys.readouterr().err == ""


# As JSON


def _objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_has_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(JSON)
    try:
        raise ValueError("a\nbug")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("GET %s failed", "/a\n{}\u2028é")
    [found] = _objects(capsys.readouterr().err)
    assert found.pop("time").endswith("+00:00")
    trace = found.pop("exception")
    assert found == {
        "level": "error",
        "logger": "uvicorn.error",
        "message": "GET /a\n{}\u2028é failed",
    }
    assert trace.startswith("Traceback")
    assert trace.endswith("ValueError: a\nbug")


def test_a_request_is_an_object_with_numbers(
    scripted: LiveServer, capsys: pytest.CaptureFixture[str], clip: bytes
) -> None:
    logs.configure(JSON)
    with scripted.client() as client:
        answer = client.post(
            f"{TRANSCRIPTIONS}?secret=hush",
            files={"file": clip},
            headers={"X-Request-ID": "mine-json"},
        )
    found = _logged(capsys, lambda one: one.get("request_id") == "mine-json")
    assert answer.headers["X-Request-ID"] == "mine-json"
    assert found["logger"] == "reflector_gpu.access"
    assert found["message"] == f"POST {TRANSCRIPTIONS} 200"
    names = ("method", "path", "status", "model", "client")
    assert [found[name] for name in names] == [
        "POST",
        TRANSCRIPTIONS,
        200,
        "scripted",
        "127.0.0.1",
    ]
    assert found["audio_seconds"] == pytest.approx((len(clip) - 44) / 32_000, abs=0.02)
    assert 0 <= found["queue_seconds"] <= found["duration_seconds"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_has_the_id_of_its_request(
    scripted: LiveServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    clip: bytes,
    form: logs.LogFormat,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    logs.configure(logs.LogOptions("info", form))
    with monkeypatch.context() as patch, scripted.client() as client:
        patch.setattr(scripted.service, "request", fail)
        client.headers["X-Request-ID"] = f"failing-{form}"
        client.post(TRANSCRIPTIONS, files={"file": clip})
    if form == "json":
        found = _logged(capsys, lambda one: "exception" in one)
        assert found["request_id"] == "failing-json"
        assert found["exception"].endswith("RuntimeError: a bug")
    else:
        wanted = f"POST {TRANSCRIPTIONS} failed id=failing-text\nTrace"
        assert _in_the_log(capsys, lambda log: wanted in log)


def _logged(
    capsys: pytest.CaptureFixture[str], wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The first object in the log that is wanted; it may still come."""
    found = _in_the_log(capsys, lambda log: next(filter(wanted, _objects(log)), None))
    assert found
    return found


def _in_the_log(capsys: pytest.CaptureFixture[str], look: Callable[[str], T]) -> T:
    """What ``look`` finds in the log, which a server may still be writing."""
    log = ""

    def found() -> T:
        nonlocal log
        log += capsys.readouterr().err
        return look(log)

    return eventually(found)


def test_workers_log_as_the_server_does(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(JSON)
    with pooled(Obedient) as pool:
        [failed] = outcomes(pool, "raise")
    assert isinstance(failed, ReflectorError)
    objects = _objects(capfd.readouterr().err)
    [found] = [one for one in objects if one["logger"] == "reflector_gpu.runtime.worker_process"]
    assert found["message"] == "a batch failed"
    assert "a secret path" in found["exception"]
