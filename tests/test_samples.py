"""What `make serve` says to somebody who mistypes, and when the port is taken."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reflector_gpu.cli.listen import listen
from tests.cli.program import environment
from tests.conftest import ROOT


def serve(port: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "samples.serve"],
        cwd=ROOT,
        env={**environment(), "PORT": port},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "8000x"])
def test_a_wrong_port_is_told_in_one_line(port: str) -> None:
    done = serve(port)
    assert done.returncode == 1
    assert done.stderr == (
        f"PORT={port} is no port: it is a number up to 65535, or 0 for a free one.\n"
    )


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with listen("127.0.0.1", 0) as taken:
        done = serve(str(taken.getsockname()[1]))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "another program listens there" in line
