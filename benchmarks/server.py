"""A server in a process of its own, as users run it, and what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

import httpx
import psutil

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
        self.memory: list[tuple[float, int]] = []
        """(monotonic time, resident bytes of the whole process tree)."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def peak(self) -> int:
        return max(size for _, size in self.memory)

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
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._watcher.join()
        self._process.terminate()
        self._process.wait()

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=None, trust_env=False)

    def _watch(self) -> None:
        root = psutil.Process(self._process.pid)
        while not self._stop.wait(0.05):
            total = 0
            for process in [root, *root.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue  # it ended since it was listed
            self.memory.append((time.monotonic(), total))
