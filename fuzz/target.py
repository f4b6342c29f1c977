"""The server that is attacked, and what an attack leaves behind in it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.watch import resident
from fuzz.ways import HANGS_SECONDS

KEY = "fuzz"
LIMIT = 2_000_000_000
"""Bytes that each process of the server may take; beyond them, memory is refused to it."""

MOST_AT_WORK = 400_000_000
"""Bytes by which the whole tree may grow while it works on hostile files."""

MOST_AT_REST = 200_000_000
"""Bytes by which it may have grown once it is done: allocators keep some for every thread."""

_START_SECONDS = 120.0
_REST_SECONDS = 30.0
"""How long processes and files may take to go after their end."""

_FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
_SETTINGS = {
    "APIKEY": KEY,
    "LOG_LEVEL": "warning",
    "MODEL": "scripted",
    "WORKERS": "2",
    "URL_ALLOW": "127.0.0.1",
    "LLM_ENGINE": "ctranslate2",
    "LLM_MODEL": str(_FIXTURES / "llm-tiny"),
    "TRANSLATOR": str(_FIXTURES / "translation-tiny"),
    "MAX_AUDIO_SECONDS": "1200",
}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the whole tree of processes holds."""

    memory: int
    """Bytes."""
    processes: int
    descriptors: int
    threads: int
    files: int
    """In its temporary folder, or open without a name."""

    def beyond(self, before: Footprint) -> list[str]:
        """What there is more of than ``before``, in words."""
        more = {
            "processes": self.processes - before.processes - _SPARE_DECODERS,
            "descriptors": self.descriptors - before.descriptors - _SPARE_DESCRIPTORS,
            "temporary files": self.files - before.files,
            "threads": self.threads - before.threads - _SPARE_THREADS,
        }
        found = [f"{count} more {what}" for what, count in more.items() if count > 0]
        grown = self.memory - before.memory
        if grown > MOST_AT_REST:
            found.append(f"{grown / 1e6:.0f} MB more memory")
        return found


_SPARE_THREADS = 40
"""Those of pools, which grow with what was done at once and then stay."""

_SPARE_DECODERS = 8
"""Decoders that are kept for more plain recordings, and as many as were busy at once."""

_SPARE_DESCRIPTORS = 5 * _SPARE_DECODERS
"""A decoder has four, and the server one for it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running server."""

    url: str
    process: psutil.Process
    folder: Path
    log: Path

    def client(self, connections: int = 10) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=HANGS_SECONDS,
            limits=httpx.Limits(max_connections=connections),
            trust_env=False,
            verify=False,
        )

    def healthy(self) -> bool:
        with self.client() as client:
            try:
                return client.get("/health/ready").status_code == 200
            except httpx.HTTPError:
                return False

    def footprint(self) -> Footprint:
        files = sum(1 for _ in self.folder.rglob("*"))
        total = Footprint(resident(self.process), 0, 0, 0, files)
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                links = _links(process.pid)
                total = Footprint(
                    total.memory,
                    total.processes + 1,
                    total.descriptors + len(links),
                    total.threads + process.num_threads(),
                    total.files + sum(str(self.folder) in link for link in links),
                )
            except (psutil.NoSuchProcess, FileNotFoundError):
                continue  # it ended since it was listed
        return total

    def left_behind(self, before: Footprint) -> list[str]:
        """What is still there that was not ``before``, once everything had its time to go."""
        deadline = time.monotonic() + _REST_SECONDS
        while (found := self.footprint().beyond(before)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


@contextmanager
def target(**settings: str) -> Iterator[Target]:
    """A server on a free port of loopback, with all its temporary files in a folder of its own."""
    with tempfile.TemporaryDirectory() as outer:
        folder, log, ready = (Path(outer, name) for name in ("temporary", "log", "ready"))
        folder.mkdir()
        variables = {**_SETTINGS, **settings}
        environment = {
            **os.environ,
            "TMPDIR": str(folder),
            **{f"REFLECTOR_{name}": value for name, value in variables.items()},
        }
        command = [sys.executable, "-m", "reflector_gpu", "serve", "--port", "0"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, "--ready-file", str(ready)], env=environment, stderr=out, stdout=out
            )
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (LIMIT, LIMIT))
        try:
            url = _url(process, ready, log)
            yield Target(url, psutil.Process(process.pid), folder, log)
        finally:
            process.terminate()
            process.wait()


def _url(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)
    return ready.read_text().strip()


def _links(pid: int) -> list[str]:
    """What the descriptors of a process are open on."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # closed since it was listed
    return found
