"""Takes jobs from the database and works on several of them at once."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    ModelNotInstalled,
    Overloaded,
    QuotaExceeded,
    ReflectorError,
    Unavailable,
    UpstreamTimeout,
    release_frames,
)
from reflector_gpu.jobs.batch_answers import Answers
from reflector_gpu.jobs.folder import JobFolder
from reflector_gpu.jobs.job import Job, JobError, Status
from reflector_gpu.jobs.journal import Journal, Work
from reflector_gpu.jobs.news import News, heard
from reflector_gpu.jobs.owned import Lost
from reflector_gpu.jobs.owners import Owners
from reflector_gpu.jobs.pieces import Pieces
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.store.repeated import repeat, surviving

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
"""A server that is silent for so long loses its jobs to other servers."""

_LOOK_SECONDS = 1.0  # between looks for jobs that another server was given
_MOST_DEATHS = 10  # of servers in a row, without any progress: the job kills them
_MOST_FAILURES = 5  # in a row, each of which may be over later
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0  # seconds

_PASSING = (Unavailable, Overloaded, UpstreamTimeout)
"""Errors that may be over later."""

Ended = Callable[[str, Status], None]
"""Called with the kind of a job that has ended, and how it ended."""

Fetch = Callable[[str, Spool], Awaitable[None]]


class Runner:
    """Works on jobs, for one event loop."""

    def __init__(
        self,
        store: JobStore,
        pieces: Pieces,
        answers: Answers,
        folder: JobFolder,
        works: Mapping[str, Work],
        fetch: Fetch,
        news: News,
        at_once: int,
        ended: Ended,
        owners: Owners,
    ) -> None:
        """``works`` has what each kind of job does; ``fetch`` downloads a URL into a spool.

        ``ended`` is called when a job has ended here.
        """
        self._store = store
        self._pieces = pieces
        self._answers = answers
        self._folder = folder
        self._works = works
        self._fetch = fetch
        self._news = news
        self._places = asyncio.Semaphore(at_once)
        self._ended = ended
        self._owners = owners
        self._server = secrets.token_hex(8)
        self._taken = 0
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        keeping = repeat(self._keep, LEASE_SECONDS / 3, "this server did not say that it lives")
        self._tasks = [asyncio.create_task(self._serve()), asyncio.create_task(keeping)]

    async def aclose(self) -> None:
        """Stop. Jobs that run go on where they were when a server takes them again."""
        tasks = [*self._tasks, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(Unavailable):  # then their leases end
            await self._store.release(self._server)

    async def _serve(self) -> None:
        while True:
            await self._places.acquire()
            job = await self._next()
            task = asyncio.create_task(self._work(job), name=job.id)
            assert job.worker, "a job that was taken has a worker"
            self._running[job.worker] = task

    async def _next(self) -> Job:
        while True:
            self._taken += 1
            with surviving("no job could be taken"):
                if job := await self._store.take(f"{self._server}-{self._taken}"):
                    return job
            await heard(self._news.queued, _LOOK_SECONDS)

    async def _keep(self) -> None:
        """Say that this server lives, and stop work on jobs that were taken away."""
        for worker in await self._store.renew(self._running):
            if task := self._running.get(worker):
                task.cancel()

    def stop(self, job_id: str) -> None:
        """End the work on a job that was cancelled, at once if it is done here."""
        for task in self._running.values():
            if task.get_name() == job_id:
                task.cancel()

    async def _work(self, job: Job) -> None:
        try:
            await self._attempt(job)
        except Lost:
            logger.info("Job %s was cancelled or taken over", job.id)
        except asyncio.CancelledError:
            pass  # the job was cancelled or taken over, or this server stops
        except Unavailable as error:
            logger.error("Job %s waits for the database: %s", job.id, error.message)
        finally:
            assert job.worker
            self._running.pop(job.worker, None)
            self._places.release()
            self._news.about(job.id)

    async def _attempt(self, job: Job) -> None:
        if job.deaths >= _MOST_DEATHS:
            error = JobError("engine_failed", "The server died of this job again and again.")
            return await self._fail(job, error)
        try:
            self._owners.check_key(job.owner)
            self._owners.check_quota(job.owner)
            await self._perform(job)
        except Lost:
            raise
        except QuotaExceeded as error:
            logger.info("Job %s waits for another day: %s", job.id, error.message)
            await self._store.put_back(job, wait=error.retry_after, failed=False)
        except ReflectorError as error:
            release_frames(error)
            if _may_pass(error) and job.failures < _MOST_FAILURES:
                pause = _pause(job.failures, error)
                logger.info("Job %s waits for %.0f s: %s", job.id, pause, error.message)
                await self._store.put_back(job, wait=pause, failed=True)
                return None
            await self._fail(job, JobError(error.code, error.message, error.param))
        except Exception:  # a bug of ours fails its job alone, and only the log says more
            logger.exception("Job %s failed", job.id)
            await self._fail(job, JobError("server_error", "The server failed on this job."))
        return None

    async def _perform(self, job: Job) -> None:
        journal = Journal(
            self._pieces, self._answers, self._owners, job, lambda: self._news.about(job.id)
        )
        await journal.begin()

        async def fetch(spool: Spool) -> None:
            await self._fetch(job.url or "", spool)
            await self._store.received(job, spool.size)

        async with self._folder.recording(job.id, fetch) as recording:
            result = await self._works[job.kind].run(job, recording, journal)
        # The lines of a batch are requests, which count their audio themselves.
        end = journal.position if job.kind == "batch" else journal.seconds
        with journal.advance(end) as used:
            await self._store.complete(job, result, journal.seconds, used)
        await self._after(job, Status.COMPLETED)

    async def _fail(self, job: Job, error: JobError) -> None:
        await self._store.fail(job, error)
        await self._after(job, Status.FAILED)

    async def _after(self, job: Job, status: Status) -> None:
        self._folder.remove(job.id)
        self._news.about(job.id)
        self._ended(job.kind, status)


def _may_pass(error: ReflectorError) -> bool:
    return isinstance(error, _PASSING) and not isinstance(error, ModelNotInstalled)


def _pause(failures: int, error: ReflectorError) -> float:
    """Seconds until a job is tried again: twice as many each time, and a little by chance."""
    asked = error.retry_after if isinstance(error, Unavailable | Overloaded) else 0.0
    pause = max(_FIRST_PAUSE * 2.0**failures, min(asked, 60.0))
    return float(min(pause, _LONGEST_PAUSE)) * random.uniform(0.8, 1.2)  # noqa: S311  no secret
