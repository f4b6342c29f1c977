"""A server in a process of its own, as users run it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx

KEY = "benchmark"


class Server:
    """``reflector-gpu serve`` on a free port; settings as ``REFLECTOR_`` names without it."""

    def __init__(self, **settings: str) -> None:
        self._environment = {
            **os.environ,
            "REFLECTOR_APIKEY": KEY,
            "REFLECTOR_LOG_LEVEL": "warning",
            **{f"REFLECTOR_{name.upper()}": value for name, value in settings.items()},
        }
        self.url = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Server:
        with tempfile.TemporaryDirectory() as folder:
            ready = Path(folder) / "url"
            command = [sys.executable, "-m", "reflector_gpu", "serve", "--port", "0"]
            self._process = subprocess.Popen(
                [*command, "--ready-file", str(ready)],
                env=self._environment,
                stderr=subprocess.DEVNULL,
            )
            while not ready.exists():
                if self._process.poll() is not None:
                    raise RuntimeError("the server did not start")
                time.sleep(0.01)
            self.url = ready.read_text().strip()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=None, trust_env=False)
