"""The process that forks decoders, when its server is gone."""

from __future__ import annotations

import socket
import subprocess
import sys

from reflector_gpu.decoding.messages import ORDER, STATUS
from tests.waiting import PATIENCE_SECONDS


def test_a_template_whose_server_was_killed_ends_without_a_traceback() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        code = "from reflector_gpu.decoding.decoder_process import template;"
        process = subprocess.Popen(
            [sys.executable, "-c", f"{code} template({theirs.fileno()}, {10**9})"],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
    with ours:
        ours.sendall(ORDER.pack(STATUS, 1))  # nobody is there for the answer
    _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, told) == (0, b"")
