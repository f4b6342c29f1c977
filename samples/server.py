"""What `make demo` and `make serve` share: a server started as a user would start it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready, the key it wants, and its process."""

    url: str
    key: str
    process: subprocess.Popen[bytes]


@contextmanager
def server(port: int, log_level: str = "info") -> Iterator[Running]:
    """``reflector-gpu serve`` on loopback, stopped when the block ends; port 0 is a free one."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # and so through `finally`
    key = os.environ.get("REFLECTOR_APIKEY") or secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "url"
        command = [sys.executable, "-m", "reflector_gpu", "serve", "--port", str(port)]
        command += ["--log-level", log_level]
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)],
            env={**os.environ, "REFLECTOR_APIKEY": key},
        )
        try:
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit(1)  # it has said why
                time.sleep(0.05)
            yield Running(ready.read_text().strip(), key, process)
        finally:
            process.terminate()
            process.wait()
