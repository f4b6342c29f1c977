"""The server's log: one form, one line a record, nothing of what must stay secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from reflector_gpu.cli import logs

NAMES = ("", "reflector_gpu", "uvicorn")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is as before afterwards."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in NAMES}
    root.handlers.clear()  # pytest's own would be closed
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
def test_who_is_heard_at_which_level(
    capsys: pytest.CaptureFixture[str], level: str, heard: list[str]
) -> None:
    logs.configure(level)
    logging.getLogger("reflector_gpu.x").debug("one")
    logging.getLogger("reflector_gpu.x").info("two")
    logging.getLogger("uvicorn.error").info("three")
    logging.getLogger("uvicorn.error").warning("four")
    logging.getLogger("httpx").info("GET https://a.host/?signature=secret")
    logging.getLogger("httpx").warning("five")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2].partition(".")[0].rstrip(":") for line in lines] == heard


def test_what_clients_send_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
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
    logs.configure("info")
    try:
        raise ValueError(f"a{sent}b")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("c%sé😀", sent)
    first, *_, last = capsys.readouterr().err.split("\n")[:-1]
    assert first.endswith(f"c{shown}é😀")
    assert last == f"ValueError: a{shown}b"


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    try:
        raise ValueError("a bug")
    except ValueError:
        logging.getLogger("reflector_gpu").exception("failed")
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: a bug"


def test_a_request_cancelled_at_the_end_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    error = asyncio.CancelledError()
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    assert capsys.readouterr().err == ""
