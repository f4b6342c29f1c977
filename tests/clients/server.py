"""The service as a process of its own: the clients' environment does not hold the package."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import PROGRAM_SECONDS

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv" / "bin" / "reflector-gpu"
KEY = "test-key"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a running server is, and what it logs."""

    url: str
    log: Path

    @property
    def api(self) -> str:
        """What OpenAI's clients call the base URL."""
        return f"{self.url}/v1"


@contextmanager
def serving(folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """Run ``reflector-gpu serve`` with these settings and no others; its files go to ``folder``."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("REFLECTOR_")}
    variables = {f"REFLECTOR_{name}": value for name, value in settings.items()}
    ready, log = folder / "url", folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", "--port", "0", "--ready-file", ready],
            env={**inherited, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Server(_address(process, ready, log), log)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PROGRAM_SECONDS) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str:
    deadline = time.monotonic() + PROGRAM_SECONDS
    while not (ready.exists() and ready.read_text().endswith("\n")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The server did not start: {log.read_text()}")
        time.sleep(0.05)
    return ready.read_text().strip()
