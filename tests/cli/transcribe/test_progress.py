"""What a person sees while waiting."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import rich.progress

from reflector_gpu.cli import progress
from reflector_gpu.pipeline.transcription import Part
from tests.cli.program import PROGRAM, environment
from tests.cli.stub import Reply, StubServer, stream


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert progress.clock(seconds) == text


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def states(
    total: float | None, positions: list[float], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What a bar says at each of ``positions``, ten seconds apart."""
    time = Clock()
    monkeypatch.setattr(progress, "time", time)

    async def parts() -> AsyncIterator[Part]:
        for position in positions:
            time.now += 10
            yield Part((), position)

    async def said() -> list[str]:
        time.now += 1000
        bar.report("recognising")
        return [str(display.tasks[0].fields["state"]) async for _ in bar.watch(parts())]

    with rich.progress.Progress(disable=True) as display:
        bar = progress.Bar(display, display.add_task("a.wav", total=total, state=""), total)
        return asyncio.run(said())


def test_a_bar_tells_how_far_how_fast_and_how_long_still(monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(200, [40, 100], monkeypatch) == [
        "0:40 / 3:20  RTFx 4.0  0:40 left",
        "1:40 / 3:20  RTFx 5.0  0:20 left",
    ]


def test_a_bar_of_unknown_length_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(None, [0, 40], monkeypatch) == ["0:00  RTFx 0.0", "0:40  RTFx 2.0"]


def test_a_bar_does_not_trust_a_header_that_lied(monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(50, [40, 80], monkeypatch) == [
        "0:40 / 0:50  RTFx 4.0  0:02 left",
        "1:20  RTFx 4.0",
    ]


@pytest.mark.slow
def test_a_terminal_shows_the_progress_and_keeps_a_summary(clip: Path) -> None:
    shown, out = on_a_terminal("transcribe", str(clip), "--model", "scripted")
    assert out.count("\n") == 1
    assert "0:00 / 0:08  loading the model" in shown
    assert re.search(r"clip\.wav: 0:08 of audio in [\d.]+ s, RTFx [\d.]+\n", shown)


def test_who_wants_quiet_gets_the_text_alone(clip: Path) -> None:
    with StubServer([Reply(stream())]) as server:
        shown, out = on_a_terminal("transcribe", str(clip), "--server", server.url, "--quiet")
    assert (shown, out.count("\n")) == ("", 1)


def on_a_terminal(*arguments: str) -> tuple[str, str]:
    """What the program writes to a terminal's standard error, and to standard output."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, *arguments],
        env={**environment(), "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        shown = b""
        while data := read(terminal):
            shown += data
        assert process.stdout
        out = process.stdout.read()
    os.close(terminal)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\r", "", shown.decode()), out


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 10_000)
    except OSError:  # Linux's way to say that the other side is closed
        return b""
