"""Recordings in the database, where servers share no folder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import NotFound, Overloaded, TooLarge, Unavailable
from reflector_gpu.jobs.allowance import Allowance, Share
from reflector_gpu.jobs.job import Draft
from reflector_gpu.jobs.jobs import Jobs
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.jobs.stored_folder import StoredFolder
from reflector_gpu.store.database import Connection, Database, sqlite_in
from tests.waiting import PATIENCE_SECONDS

T = TypeVar("T")

CONTENT = bytes(range(256)) * 10_000


class Failing(Database):
    """Does not answer a question."""

    def __init__(self) -> None:
        pass

    async def read(self, work: Callable[[Connection], T]) -> T:
        raise Unavailable("The database does not answer.")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = sqlite_in(tmp_path)
    yield database
    database.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    path.write_bytes(CONTENT)
    return path


async def never(_: Spool) -> None:
    raise AssertionError("it is stored, and need not be fetched")


async def read(folder: StoredFolder) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS), folder.recording("job_1", never) as spool:
        return await asyncio.to_thread(spool.reader().peek, 0, 10_000_000)


def test_a_recording_is_the_same_again_until_it_is_forgotten(
    database: Database, tmp_path: Path, recording: Path
) -> None:
    one, other = (StoredFolder(database, 10_000_000, tmp_path) for _ in range(2))

    async def run() -> None:
        assert await one.keep("job_1", recording) == len(CONTENT)
        assert await read(other) == CONTENT
        assert other.ids() == []
        await one.forget("job_1")
        assert await database.read(lambda c: c.rows("SELECT job FROM recordings")) == []
        with pytest.raises(NotFound):
            await one.keep("job_2", tmp_path / "deleted")

    asyncio.run(run())
    one.release()
    other.release()


def test_what_a_killed_server_has_left_is_removed(
    database: Database, tmp_path: Path, recording: Path
) -> None:
    first = StoredFolder(database, 10_000_000, tmp_path)
    (left,) = (path for path in tmp_path.iterdir() if path.is_dir())
    copy = shutil.copytree(left, left.with_name(f"{left.name}-of-a-killed-server"))
    second = StoredFolder(database, 10_000_000, tmp_path)
    assert left.is_dir()
    assert not copy.exists()
    first.release()
    second.release()
    assert list(tmp_path.iterdir()) == [recording]


def test_readers_get_an_error_if_a_recording_does_not_come(
    database: Database, tmp_path: Path, recording: Path
) -> None:
    large = StoredFolder(database, 10_000_000, tmp_path)
    small = StoredFolder(database, 1_500_000, tmp_path)
    silent = StoredFolder(Failing(), 10_000_000, tmp_path)

    async def run() -> None:
        await large.keep("job_1", recording)
        with pytest.raises(TooLarge):
            await read(small)
        with pytest.raises(Unavailable):
            await read(silent)

    asyncio.run(run())
    for folder in (large, small, silent):
        folder.release()


class KeepsNothing(StoredFolder):
    async def keep(self, job_id: str, path: Path) -> int:
        raise AssertionError("nothing should be written")


@pytest.mark.parametrize("share", [Share(jobs=1), Share(bytes=1_000_000)])
def test_no_recording_is_written_that_becomes_no_job(
    database: Database, tmp_path: Path, recording: Path, share: Share
) -> None:
    folder = KeepsNothing(database, 10_000_000, tmp_path)
    unused: Any = never
    jobs = Jobs(
        database,
        folder,
        {},
        unused,
        AddressGuard([]),
        unused,
        unused,
        unused,
        at_once=1,
        keep_seconds=1,
        upload_seconds=1,
        allowance=Allowance(key=share),
    )
    draft = Draft("me", "transcription", {}, "a.wav", "f", idempotency_key="k")

    async def run() -> None:
        first = await JobStore(database, lease=10.0).add("job_1", draft)
        assert await jobs.add(draft, recording) == (first, False)
        with pytest.raises((Overloaded, TooLarge)):
            await jobs.add(replace(draft, idempotency_key="new"), recording)

    asyncio.run(run())
    folder.release()
