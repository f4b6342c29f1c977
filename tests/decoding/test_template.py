"""The process that forks decoders, spoken to as its server does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from reflector_gpu.decoding.messages import ANSWER, END, FORK, NO_PROCESS, ORDER, STATUS
from reflector_gpu.decoding.processes import ProcessDecoders
from reflector_gpu.errors import UpstreamFailed
from tests.conftest import SAMPLES
from tests.decoding.processes import begun, run
from tests.waiting import PATIENCE_SECONDS, until


def test_a_template_whose_server_was_killed_ends_without_a_traceback() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = _started(theirs)
    with ours:
        ours.sendall(ORDER.pack(STATUS, 1))  # nobody is there for the answer
    _check_end(process)


def test_a_decoder_that_has_died_can_be_ended_while_another_dies() -> None:
    another_dies = (
        "import os, signal; kill = os.kill;"
        " os.kill = lambda *which: (signal.raise_signal(signal.SIGCHLD), kill(*which));"
    )
    ours, theirs = socket.socketpair()
    with theirs:
        process = _started(theirs, another_dies)
    ours.settimeout(PATIENCE_SECONDS)
    with ours:
        pid = _ordered(ours, FORK)
        os.kill(pid, signal.SIGKILL)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        assert _ordered(ours, END, pid) == pid
        assert _ordered(ours, FORK) != NO_PROCESS
    _check_end(process)


def _check_end(process: subprocess.Popen[bytes]) -> None:
    """It may have warned of a machine that has no sandbox."""
    _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert b"Traceback" not in told


def _started(control: socket.socket, first: str = "") -> subprocess.Popen[bytes]:
    """A template at the other end of ``control``, in a process that executes ``first`` before."""
    code = "from reflector_gpu.decoding.decoder_process import template;"
    return subprocess.Popen(
        [sys.executable, "-c", f"{first} {code} template({control.fileno()}, {10**9})".strip()],
        pass_fds=[control.fileno()],
        stderr=subprocess.PIPE,
    )


def _ordered(control: socket.socket, kind: int, pid: int = 0) -> int:
    """Give an order, with a connection for a decoder. Returns the answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        files = [theirs.fileno()] if kind == FORK else []
        socket.send_fds(control, [ORDER.pack(kind, pid)], files)
        (answer,) = ANSWER.unpack(control.recv(ANSWER.size, socket.MSG_WAITALL))
        return int(answer)


def test_bytes_that_end_in_an_error_leave_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """FFmpeg goes on to ask for bytes of a WebM. PyAV would print each error but the last."""

    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, (SAMPLES / "standup.webm").read_bytes()) as (rest, spool):
            spool.fail(UpstreamFailed("The host broke off the download."))
            with pytest.raises(UpstreamFailed, match="broke off"):
                await rest

    run(scene)
    printed = capfd.readouterr().err
    assert "being dropped" not in printed
    assert "Traceback" not in printed
