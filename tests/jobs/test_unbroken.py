"""A client that leaves during the commit, or a database that fails then, leaves all or nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.errors import StorageFull, Unavailable
from reflector_gpu.jobs import job as job_module
from reflector_gpu.jobs.folder import JobFolder
from reflector_gpu.jobs.job import Draft
from reflector_gpu.jobs.jobs import Jobs
from reflector_gpu.store.database import Connection, Database, sqlite_in

T = TypeVar("T")

DRAFT = Draft("me", "transcription", {}, "a.wav", "f")


class Held(Database):
    """Whose transactions wait until they are `released`, and fail if there is an ``error``.

    If the ``answer_is_lost``, they succeed before they fail. If they ``land_late``, they succeed
    once they `land`. If it ``falls_silent``, later reads fail too.
    """

    def __init__(self, database: Database) -> None:
        self._inner = database
        self.begun = asyncio.Event()
        self.released = threading.Event()
        self.error: Exception | None = None
        self.answer_is_lost = False
        self.land_late = False
        self.late: list[Callable[[Connection], object]] = []
        self.falls_silent = False
        self.silent = False

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.begun.set()
        await asyncio.to_thread(self.released.wait)
        if self.error is None or self.answer_is_lost:
            done = await self._inner.write(work)
        if self.land_late:
            self.late.append(work)
        if self.error:
            self.silent = self.falls_silent
            raise self.error
        return done

    async def land(self) -> None:
        """Do the transactions whose callers have heard of an error."""
        for work in self.late:
            await self._inner.write(work)

    async def note(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.note(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self.silent:
            raise Unavailable("The server's database does not answer.")
        return await self._inner.read(work)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Held]:
    held = Held(inner := sqlite_in(tmp_path))
    yield held
    held.released.set()
    inner.close()


@pytest.fixture
def jobs(database: Held, tmp_path: Path) -> Jobs:
    async def fetch(*_: object) -> None:
        raise NotImplementedError

    never: Any = fetch
    folder = JobFolder(tmp_path, 1000)
    guard = AddressGuard([])
    return Jobs(
        database,
        folder,
        {},
        never,
        guard,
        never,
        never,
        never,
        at_once=1,
        keep_seconds=1,
        upload_seconds=1,
    )


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    path.write_bytes(b"abc")
    return path


async def left(database: Held, request: asyncio.Task[Any], jobs: Jobs) -> None:
    """The client leaves in the middle of the commit, which is done later."""
    await database.begun.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    database.released.set()
    await jobs.aclose()


def test_an_accepted_job_keeps_its_recording(
    jobs: Jobs, database: Held, recording: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        await left(database, asyncio.create_task(jobs.add(DRAFT, recording)), jobs)
        [job] = await jobs.store.listed("me")
        assert (tmp_path / "jobs" / job.id / "audio").read_bytes() == b"abc"

    asyncio.run(run())


def test_a_job_that_was_not_accepted_leaves_nothing(
    jobs: Jobs, database: Held, recording: Path, tmp_path: Path
) -> None:
    database.error = StorageFull("full")

    async def run() -> None:
        await left(database, asyncio.create_task(jobs.add(DRAFT, recording)), jobs)
        assert await jobs.store.listed("me") == []
        assert list((tmp_path / "jobs").iterdir()) == []

    asyncio.run(run())


def test_a_job_whose_acceptance_was_not_heard_of_is_accepted(
    jobs: Jobs, database: Held, recording: Path, tmp_path: Path
) -> None:
    database.error, database.answer_is_lost = Unavailable("The connection broke."), True
    database.released.set()

    async def run() -> None:
        job, new = await jobs.add(DRAFT, recording)
        assert new
        assert (tmp_path / "jobs" / job.id / "audio").read_bytes() == b"abc"

    asyncio.run(run())


@pytest.mark.parametrize("accepted", [True, False])
def test_a_recording_stays_until_it_is_known_to_be_nobodys(
    jobs: Jobs,
    database: Held,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accepted: bool,
) -> None:
    """The database falls silent during the commit, and comes back later."""
    monkeypatch.setattr(job_module, "_STRAY_SECONDS", -60.0)
    database.error, database.answer_is_lost = Unavailable("The connection broke."), accepted
    database.falls_silent = True
    database.released.set()

    async def run() -> None:
        with pytest.raises(Unavailable):
            await jobs.add(DRAFT, recording)
        assert len(list((tmp_path / "jobs").iterdir())) == 1
        database.silent, database.error = False, None
        await jobs.sweep()
        assert len(await jobs.store.listed("me")) == accepted
        assert len(list((tmp_path / "jobs").iterdir())) == accepted

    asyncio.run(run())


def test_what_is_accepted_after_its_client_was_told_of_an_error_is_whole(
    jobs: Jobs, database: Held, recording: Path, tmp_path: Path
) -> None:
    database.error, database.land_late = Unavailable("The commit takes long."), True
    database.released.set()

    async def run() -> None:
        for request in (
            jobs.add(DRAFT, recording),
            jobs.files.add("me", "a", "batch", recording),
            jobs.uploads.create("me", 10, "a", ""),
        ):
            with pytest.raises(Unavailable):
                await request
        await database.land()
        [job] = await jobs.store.listed("me")
        assert (tmp_path / "jobs" / job.id / "audio").read_bytes() == b"abc"
        [file] = await jobs.files.listed("me")
        async with jobs.files.local(file) as path:
            assert path.read_bytes() == b"abc"
        [upload] = await database.read(lambda c: c.rows("SELECT id FROM uploads"))
        assert (await jobs.uploads.get("me", str(upload["id"]))).offset == 0

    asyncio.run(run())


def test_a_kept_file_has_a_row(jobs: Jobs, database: Held, recording: Path) -> None:
    async def run() -> None:
        add = jobs.files.add("me", "a", "batch", recording)
        await left(database, asyncio.create_task(add), jobs)
        [file] = await jobs.files.listed("me")
        async with jobs.files.local(file) as path:
            assert path.read_bytes() == b"abc"

    asyncio.run(run())


def test_a_file_without_a_row_is_not_kept(
    jobs: Jobs, database: Held, recording: Path, tmp_path: Path
) -> None:
    database.error = StorageFull("full")
    database.released.set()

    async def run() -> None:
        with pytest.raises(StorageFull):
            await jobs.files.add("me", "a", "batch", recording)
        with pytest.raises(StorageFull):
            await jobs.uploads.create("me", 10, "a", "")
        assert list((tmp_path / "files").iterdir()) == []
        assert list((tmp_path / "uploads").iterdir()) == []

    asyncio.run(run())
