"""Servers that stop, and what becomes of the jobs and the webhooks that they had."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.errors import Unavailable
from reflector_gpu.jobs.batch_answers import Answers
from reflector_gpu.jobs.deliveries import Deliveries
from reflector_gpu.jobs.folder import JobFolder
from reflector_gpu.jobs.job import Draft, Status
from reflector_gpu.jobs.news import News
from reflector_gpu.jobs.pieces import Pieces
from reflector_gpu.jobs.runner import Runner
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.jobs.webhooks import Webhooks
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.store.database import Connection, Database, sqlite_in

T = TypeVar("T")


class Slow(Database):
    """What a transaction has changed is told once `told` is set; never if it is the first one and
    ``loses_first`` is set."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.changed = asyncio.Event()
        self.told = threading.Event()
        self.loses_first = False

    async def note(self, work: Callable[[Connection], T]) -> T:
        if self.loses_first:
            self.loses_first = False
            await self._inner.note(work)
            raise Unavailable("The connection broke.")

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


@pytest.mark.parametrize("answer", ["heard", "late", "lost"])
def test_a_server_that_stops_leaves_its_job_to_the_others(
    database: Slow, tmp_path: Path, answer: str
) -> None:
    """Also if it has not heard yet that the job is its own, or will never hear."""
    database.loses_first = answer == "lost"

    async def never(*_: object) -> None:
        raise NotImplementedError

    async def run() -> None:
        store, works, news = JobStore(database, 15.0), Hangs(), News()
        news.queued.set()  # it looks for a job again at once
        folder = JobFolder(tmp_path, 9)
        accounts: Any = Accounts.of(database._inner)
        runner = Runner(
            store,
            Pieces(database),
            Answers(database),
            folder,
            {"transcription": works},
            never,
            news,
            1,
            lambda *_: None,
            accounts,
        )
        (tmp_path / "audio").write_bytes(b"abc")
        await folder.keep("job_1", tmp_path / "audio")
        await store.add("job_1", Draft("me", "transcription", {}, "a.wav", "f"))
        runner.start()
        await database.changed.wait()
        if answer == "heard":
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


@pytest.mark.parametrize("heard", [True, False])
def test_a_server_that_stops_leaves_its_webhook_to_the_others(database: Slow, heard: bool) -> None:
    async def run() -> None:
        store, describing = JobStore(database._inner, 15.0), Hangs()
        draft = Draft("me", "transcription", {}, "a.wav", "f", webhook_url="http://example.com/")
        await store.cancel(await store.add("job_1", draft))
        webhooks = Webhooks(Deliveries(database), AddressGuard([]), describing.run)
        webhooks.start()
        await database.changed.wait()
        if heard:
            database.told.set()
            await describing.begun.wait()
        closing = asyncio.create_task(webhooks.aclose())
        await asyncio.sleep(0)  # it begins to stop
        database.told.set()
        await closing
        delivery = await Deliveries(database).take([])
        assert delivery
        assert delivery.attempts == 1

    asyncio.run(run())
