"""Servers that stop, and what becomes of the jobs that they had."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from reflector_gpu.jobs.batch_answers import Answers
from reflector_gpu.jobs.folder import JobFolder
from reflector_gpu.jobs.job import Draft, Status
from reflector_gpu.jobs.news import News
from reflector_gpu.jobs.pieces import Pieces
from reflector_gpu.jobs.runner import Runner
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.store.database import Connection, Database, sqlite_in

T = TypeVar("T")


class Slow(Database):
    """What a transaction has changed is told once `told` is set."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.changed = asyncio.Event()
        self.told = threading.Event()

    async def note(self, work: Callable[[Connection], T]) -> T:
        def slow(connection: Connection) -> T:
            done = work(connection)
            loop.call_soon_threadsafe(self.changed.set)
            self.told.wait()
            return done

        loop = asyncio.get_running_loop()
        return await self._inner.note(slow)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.write(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.read(work)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Slow]:
    inner = sqlite_in(tmp_path)
    slow = Slow(inner)
    yield slow
    slow.told.set()
    inner.close()


class Hangs:
    """Work that is never done."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def run(self, *_: object) -> bytes:
        self.begun.set()
        await asyncio.get_running_loop().create_future()
        raise NotImplementedError


@pytest.mark.parametrize("heard", [True, False])
def test_a_server_that_stops_leaves_its_job_to_the_others(
    database: Slow, tmp_path: Path, heard: bool
) -> None:
    """Also if it has not heard yet that the job is its own."""

    async def never(*_: object) -> None:
        raise NotImplementedError

    async def run() -> None:
        store, works = JobStore(database, 15.0), Hangs()
        folder = JobFolder(tmp_path, 9)
        accounts: Any = Accounts.of(database._inner)
        runner = Runner(
            store,
            Pieces(database),
            Answers(database),
            folder,
            {"transcription": works},
            never,
            News(),
            1,
            lambda *_: None,
            accounts,
        )
        (tmp_path / "audio").write_bytes(b"abc")
        await folder.keep("job_1", tmp_path / "audio")
        await store.add("job_1", Draft("me", "transcription", {}, "a.wav", "f"))
        runner.start()
        await database.changed.wait()
        if heard:
            database.told.set()
            await works.begun.wait()
        closing = asyncio.create_task(runner.aclose())
        await asyncio.sleep(0)  # it begins to stop
        database.told.set()
        await closing
        job = await store.get("me", "job_1")
        assert (job.status, job.worker, job.deaths) == (Status.QUEUED, None, 0)
        assert await store.take("other")

    asyncio.run(run())
