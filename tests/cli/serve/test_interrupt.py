"""Ctrl-C ends the program at once, without a traceback, and leaves no process behind."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from reflector_gpu.cli import interrupt
from tests.api.hosts import Answer, AudioHost
from tests.cli.program import environment, started
from tests.cli.stub import StubServer
from tests.processes import alive
from tests.waiting import until


def test_while_a_server_works(clip: Path) -> None:
    with (
        StubServer() as server,
        started("transcribe", str(clip), "--server", server.url) as running,
    ):
        until(server.silent.is_set)
        assert running.stop(signal.SIGINT) == 130
        assert running.errors == []


@pytest.mark.slow
def test_while_this_machine_works(clip: Path) -> None:
    recording = clip.read_bytes()
    waiting = Answer(recording, pause_at=len(recording) // 2)
    settings = environment(URL_ALLOW="127.0.0.1", MODEL="scripted")
    with AudioHost() as host:
        url = host.put("/clip.wav", waiting)
        with started("transcribe", url, env=settings) as running:
            until(waiting.paused.is_set)
            workers = psutil.Process(running.process.pid).children(recursive=True)
            assert workers
            assert running.stop(signal.SIGINT) == 130
            assert running.errors == []
    until(lambda: not any(alive(worker) for worker in workers))


@pytest.mark.parametrize(
    ("before", "starting", "working"),
    [
        (signal.default_int_handler, signal.SIG_DFL, signal.default_int_handler),
        (signal.SIG_IGN, signal.SIG_IGN, signal.SIG_IGN),
    ],
    ids=["usual", "ignored"],
)
def test_while_it_starts_there_is_nothing_to_clean_up(
    before: object, starting: object, working: object
) -> None:
    own = signal.signal(signal.SIGINT, before)  # type: ignore[arg-type]  # a handler of Python
    try:
        interrupt.exit_at_once()
        assert signal.getsignal(signal.SIGINT) == starting
        interrupt.raise_error()
        assert signal.getsignal(signal.SIGINT) == working
    finally:
        signal.signal(signal.SIGINT, own)
