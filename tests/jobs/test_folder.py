"""The folder with the recordings of jobs, when a file cannot be opened."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import StorageFull
from reflector_gpu.jobs.folder import JobFolder


@pytest.mark.parametrize("name", ["audio", "partial"])
def test_a_job_waits_while_its_recording_cannot_be_opened(tmp_path: Path, name: str) -> None:
    folder = JobFolder(tmp_path, 1_000_000)
    (tmp_path / "jobs" / "job_1" / name).mkdir(parents=True)  # no file can be opened here

    async def fetch(_: Spool) -> None:
        raise AssertionError("there is no place for it")

    async def read() -> None:
        async with folder.recording("job_1", fetch):
            pass

    with pytest.raises(StorageFull):
        asyncio.run(read())
