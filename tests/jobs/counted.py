"""A server that can be killed, and whose recogniser writes down every chunk that it is given.

``python -m tests.jobs.counted READY_FILE`` serves; `CountedServer` starts that, and kills it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from reflector_gpu.cli import serve
from reflector_gpu.engines.recognition import catalog, scripted
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.errors import ReflectorError
from reflector_gpu.jobs import runner
from reflector_gpu.jobs.job import Draft, Job
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.waiting import PROGRAM_SECONDS, until

NOTES, LIVES, DIES, LEASE = "COUNTED_NOTES", "COUNTED_CHUNKS", "COUNTED_DIES", "COUNTED_LEASE"
"""Variables: the file to write to, after how many chunks the recogniser hangs, whether the server
dies once it has accepted a job, and after how many seconds of silence another may take over."""

HELD = "held"
"""A file beside the notes: the recogniser waits for as long as it is there."""

_ROOT = Path(__file__).parents[2]


class Counted(scripted.ScriptedRecogniser):
    """Hears what `scripted` hears. It hangs once it has been given so many chunks."""

    def __init__(self) -> None:
        self._left = int(os.environ[LIVES])

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        for samples in chunks:
            self._note(hashlib.sha256(samples.tobytes()).hexdigest())
        while Path(os.environ[NOTES]).with_name(HELD).exists():
            threading.Event().wait(0.005)
        if self._left <= 0:
            self._note("hangs")
            threading.Event().wait()
        self._left -= len(chunks)
        return super().transcribe(chunks, options)

    def _note(self, line: str) -> None:
        with Path(os.environ[NOTES]).open("a") as file:
            file.write(f"{line}\n")


MODEL = replace(
    catalog.MODELS["scripted"],
    name="counted",
    engine=f"{__name__}:Counted",
    spec=replace(scripted.SPEC, max_chunk_seconds=3.0, max_batch=1),
)


def register() -> None:
    """Have the catalog of this process know the model."""
    models = cast("dict[str, RecogniserModel]", catalog.MODELS)
    models.setdefault("counted", MODEL)


def quiet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of a `LiveServer` whose recogniser counts as well. It is not killed, and starts
    sooner than a program."""
    register()
    notes = folder / "notes"
    notes.touch()
    monkeypatch.setenv(NOTES, str(notes))
    monkeypatch.setenv(LIVES, "1000000")
    return {"model": "counted", "workers": 1, "data_dir": folder / "data"}


def noted(folder: Path) -> list[str]:
    """The chunks that were given to the recogniser, in order, by all servers of the folder."""
    return [line for line in (folder / "notes").read_text().split() if line != "hangs"]


def given(folder: Path) -> Counter[str]:
    """How often each of them was given."""
    return Counter(noted(folder))


class CountedServer:
    """It lives in the ``with`` block, or until it is killed. ``folder`` outlives it."""

    def __init__(
        self,
        folder: Path,
        *,
        chunks: int = 1_000_000,
        dies_accepting: bool = False,
        lease: float = runner.LEASE_SECONDS,
        **settings: str,
    ) -> None:
        self.notes = folder / "notes"
        self.notes.touch()
        named = {f"REFLECTOR_{name.upper()}": value for name, value in settings.items()}
        self._environment = {
            **{name: value for name, value in os.environ.items() if "REFLECTOR_" not in name},
            "REFLECTOR_DATA_DIR": str(folder / "data"),
            "REFLECTOR_MODEL": "counted",
            "REFLECTOR_WORKERS": "1",
            "REFLECTOR_PORT": "0",
            "REFLECTOR_LOG_LEVEL": "warning",
            NOTES: str(self.notes),
            LIVES: str(chunks),
            DIES: "yes" if dies_accepting else "",
            LEASE: str(lease),
            **named,
        }

    def __enter__(self) -> CountedServer:
        with tempfile.TemporaryDirectory() as folder:
            ready = Path(folder) / "ready"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.jobs.counted", str(ready)],
                cwd=_ROOT,
                env=self._environment,
                start_new_session=True,
            )
            until(lambda: ready.exists() or self._process.poll() is not None, PROGRAM_SECONDS)
            assert self._process.poll() is None, "the server did not start"
            self.url = ready.read_text().strip()
        self.client = httpx.Client(
            base_url=self.url, timeout=PROGRAM_SECONDS, trust_env=False, verify=False
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End all its processes, as a loss of power would."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.client.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def given(self) -> Counter[str]:
        """As the function."""
        return given(self.notes.parent)

    @property
    def hangs(self) -> int:
        """How often a recogniser has hung."""
        return self.notes.read_text().count("hangs")


async def _die_accepting(store: JobStore, job_id: str, draft: Draft, size: int = 0) -> Job:
    await _add(store, job_id, draft, size)
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("it is dead")


_add = JobStore.add

if __name__ == "__main__":
    from tests.jobs import counted  # the workers import the engine by this name

    counted.register()
    if os.environ[DIES]:
        setattr(JobStore, "add", _die_accepting)  # noqa: B010  mypy
    runner.LEASE_SECONDS = float(os.environ[LEASE])
    serve.run(Path(sys.argv[1]))
