"""A server over an engine that misbehaves to order, and what it leaves behind."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from reflector_gpu.engines.recognition import catalog
from tests.api import engines
from tests.api.support import (
    eventually,
    upload,
)
from tests.live import KEY, LiveServer


@dataclass(frozen=True)
class Stage:
    """A server over the engine that misbehaves to order, and what that engine notes."""

    server: LiveServer
    folder: Path

    def noted(self, what: str) -> list[int]:
        """The processes that noted ``what``, one for each time."""
        lines = (self.folder / "notes").read_text().splitlines()
        return [int(line.rpartition(" ")[2]) for line in lines if line.startswith(what)]

    def get(self, path: str) -> httpx.Response:
        with self.server.client() as client:
            return client.get(path)

    @property
    def state(self) -> str:
        return str(self.get("/v1/models/faulty").json()["state"])

    @contextmanager
    def marked(self, name: str) -> Iterator[None]:
        """With the file ``name`` for the engine to see."""
        (self.folder / name).touch()
        try:
            yield
        finally:
            (self.folder / name).unlink()

    @contextmanager
    def occupied(self, recording: bytes, text: str) -> Iterator[int]:
        """While the only worker is at ``recording``, which is answered when the block ends.

        Gives the worker's process.
        """
        before = len(self.noted("batch"))
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(upload, self.server, recording, data={"prompt": "wait"})
            try:
                yield eventually(lambda: self.noted("batch")[before:])[0]
            finally:
                with self.marked("go"):
                    answered = answer.result()
        assert answered.json()["text"] == text

    def waits(self, chunks: int) -> None:
        """Until so many have to wait for the worker."""
        pool = self.server.service.workers.pool(self.server.service.recognisers.default)
        eventually(lambda: pool.waiting == chunks)


@contextmanager
def staged(folder: Path, *, hasty: bool = False, **settings: object) -> Iterator[Stage]:
    """With ``hasty``, a batch may take `engines.HASTE_SECONDS`."""
    given = {"model": "faulty", "apikey": KEY, "url_allow": "127.0.0.1", "workers": 1, **settings}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.MODELS, "faulty", engines.faulty(folder, hasty=hasty))
        with LiveServer(wait=True, **given) as server:
            yield Stage(server, folder)


class HangClock:
    """Stands still, however slow the machine is, but runs while the process of an engine hangs."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "notes"
        self._notes.touch()
        self._now = 0.0

    def __call__(self) -> float:
        if self._hangs():
            self._now += 2 * engines.HASTE_SECONDS
        return self._now

    def _hangs(self) -> bool:
        if not (lines := self._notes.read_text().splitlines()):
            return False
        what, _, process = lines[-1].rpartition(" ")
        with suppress(psutil.NoSuchProcess):
            return what == "hang" or psutil.Process(int(process)).status() == psutil.STATUS_STOPPED
        return False


@dataclass(frozen=True)
class Held:
    """What this process holds: open files, threads, children."""

    files: int
    threads: Counter[str]
    children: int

    @classmethod
    def now(cls) -> Held:
        names = (thread.name for thread in threading.enumerate())
        threads = Counter(name for name in names if not name.startswith("asyncio_"))  # a pool's
        files = len(list(Path("/dev/fd").iterdir()))
        return cls(files, threads, len(psutil.Process().children()))

    @classmethod
    def idle(cls, server: LiveServer) -> Held:
        """Once nobody is connected and nothing is decoded any more."""
        eventually(lambda: not server._server.server_state.connections)
        eventually(lambda: not cls.now().threads["decode"])
        return cls.now()

    def check_no_more(self) -> None:
        """Wait until there is nothing beyond this."""

        def freed() -> bool:
            now = Held.now()
            less = now.files <= self.files and now.children <= self.children
            return less and now.threads <= self.threads

        eventually(freed)


def check_poisoned(error: dict[str, Any]) -> None:
    assert (error["type"], error["code"]) == ("server_error", "engine_failed")
    assert "secret" not in error["message"]


@dataclass(frozen=True)
class Bench:
    """Recordings of a chunk each, all of them wholesome but for ``poison``."""

    clips: Sequence[bytes]
    texts: Sequence[str]
    poison: bytes
    long_clip: bytes
    long_text: str

    def heard(self, stage: Stage, how: str, *requests: Sequence[bytes]) -> list[httpx.Response]:
        """The answers to ``requests``, whose files are all worked on in one batch."""
        with ThreadPoolExecutor() as threads:
            with stage.occupied(self.long_clip, self.long_text):
                fields = {"prompt": how}
                answers = [
                    threads.submit(upload, stage.server, *files, data=fields) for files in requests
                ]
                stage.waits(sum(map(len, requests)))
            found = [answer.result() for answer in answers]
        eventually(lambda: stage.state == "ready")
        return found

    def check_alone(self, stage: Stage, how: str) -> None:
        """What is poisonous fails, and not what is beside it."""
        (answer,) = self.heard(stage, how, (self.clips[0], self.poison))
        good, bad = answer.json()["results"]
        assert good["text"] == self.texts[0]
        check_poisoned(bad["error"])
