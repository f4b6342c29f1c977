"""The jobs of one server: accepted, watched, cancelled, and erased in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.errors import NotFound, Overloaded, Unavailable
from reflector_gpu.jobs import runner
from reflector_gpu.jobs.allowance import UNLIMITED, Allowance
from reflector_gpu.jobs.batch_answers import Answers
from reflector_gpu.jobs.deliveries import Deliveries, Delivery
from reflector_gpu.jobs.files import Files
from reflector_gpu.jobs.folder import Arriving, JobFolder
from reflector_gpu.jobs.job import Draft, Job, Status, new_id, stray_before
from reflector_gpu.jobs.journal import Work
from reflector_gpu.jobs.news import News, heard
from reflector_gpu.jobs.owners import Owners
from reflector_gpu.jobs.pieces import Pieces
from reflector_gpu.jobs.runner import Ended, Fetch, Runner
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.jobs.unbroken import Unbroken, row_or_forget
from reflector_gpu.jobs.uploads import Uploads
from reflector_gpu.jobs.watchers import Watchers
from reflector_gpu.jobs.webhooks import Webhooks
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.store.database import Database
from reflector_gpu.store.repeated import repeat

Show = Callable[[Job, float | None], bytes]
"""What a webhook says about a job, which will be erased at that time."""

_SWEEP_SECONDS = 60.0
_LOOK_SECONDS = 1.0  # between looks for news from other servers


@dataclass(frozen=True, slots=True)
class Event:
    """News of a job: the part ``number`` of its transcript, or, without one, what it has become."""

    job: Job
    number: int | None = None
    part: Part | None = None


class Jobs:
    """`start` it, use it, `aclose` it. For one event loop."""

    def __init__(
        self,
        database: Database,
        folder: JobFolder,
        works: Mapping[str, Work],
        fetch: Fetch,
        guard: AddressGuard,
        show: Show,
        owners: Owners,
        ended: Ended,
        *,
        at_once: int,
        keep_seconds: float,
        upload_seconds: float,
        shared: bool = False,
        allowance: Allowance = UNLIMITED,
    ) -> None:
        """A job is erased ``keep_seconds`` after its end. Other machines may use the database if it
        is ``shared``. Webhooks go to hosts that ``guard`` allows; ``show`` writes what they say.
        ``owners`` knows which keys were revoked. None keeps more than the ``allowance``. ``ended``
        is called for every job that ends here.
        """
        self._database = database
        self._folder = folder
        self._keep_seconds = keep_seconds
        self._shared = shared
        self.store = JobStore(database, runner.LEASE_SECONDS, allowance=allowance)
        """For looking at jobs. Whoever changes one calls a method of this class."""
        self._pieces = Pieces(database)
        self.answers = Answers(database)
        self._owners = owners
        self._news = News()
        self._watchers = Watchers(allowance)
        self._show = show
        self._ended = ended
        self.deliveries = Deliveries(database)
        """The messages to send. It knows the secrets that sign them."""
        self.webhooks = Webhooks(self.deliveries, guard, self._message)
        self._runner = Runner(
            self.store,
            self._pieces,
            self.answers,
            folder,
            works,
            fetch,
            self._news,
            at_once,
            self._has_ended,
            owners,
        )
        self._unbroken = Unbroken()
        self._allowance = allowance
        self.files = Files(database, folder.files, keep_seconds, self._unbroken, allowance)
        self.uploads = Uploads(
            database,
            folder.uploads,
            self._unbroken,
            allowance=allowance,
            limit=folder.limit,
            keep_seconds=upload_seconds,
        )
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to work: first on the jobs of a server that has died."""
        if not self._shared and self._folder.alone():
            await self.store.release_all()
            await self.uploads.release_all()
            await asyncio.to_thread(self._folder.remove_incoming)
            await self._remove_unknown(self._folder.ids())
        self._runner.start()
        self.webhooks.start()
        self._sweeping = asyncio.create_task(
            repeat(self.sweep, _SWEEP_SECONDS, "not all that has expired was removed")
        )

    async def aclose(self) -> None:
        """Stop. The next server goes on with what is not done."""
        if self._sweeping:
            self._sweeping.cancel()
        await self._unbroken.wait()
        await self._runner.aclose()
        await self.webhooks.aclose()
        self._folder.release()

    def arriving(self) -> AbstractContextManager[Arriving]:
        """Takes an upload, which becomes a job's recording by `add`."""
        return self._folder.arriving()

    async def check_room(self, owner: str, size: int) -> None:
        """Check early whether ``size`` bytes more may be kept.

        Raises:
            Overloaded, TooLarge: as `add`.
        """
        await self._database.read(lambda c: self._allowance.check(c, owner, size))

    async def check_room_for_new(self, owner: str, size: int, idempotency_key: str | None) -> None:
        """As `check_room`, unless the request repeats an earlier one, which gives its job.

        The key is None if it is not known before the body.

        Raises:
            Overloaded, TooLarge: as `add`.
        """
        try:
            await self.check_room(owner, size)
        except Overloaded:
            if not await self.store.with_key(owner, idempotency_key):
                raise

    async def add(self, draft: Draft, recording: Path | None = None) -> tuple[Job, bool]:
        """Accept a job, whatever happens from now on. The flag says whether it is a new one.

        Raises:
            InvalidRequest: its idempotency key was used for something else.
            Overloaded, TooLarge: its owner keeps as much as it may.
            StorageFull: nothing was accepted.
            Unavailable: the database does not answer. The job may have been accepted all the same.
        """
        # A client that leaves during the commit must not take the recording of its job along.
        return await self._unbroken.run(self._add(draft, recording))

    async def _add(self, draft: Draft, recording: Path | None) -> tuple[Job, bool]:
        if earlier := await self.store.earlier(draft):
            return earlier, False
        if self._folder.copies:  # of an upload or a file
            draft = replace(draft, source=None)
            size = (await asyncio.to_thread(recording.stat)).st_size if recording else 0
            await self._database.read(lambda c: self._allowance.check(c, draft.owner, size, jobs=1))
        job_id = new_id("job")
        size = await self._folder.keep(job_id, recording) if recording else 0
        try:
            job = await row_or_forget(
                self.store.add(job_id, draft, size), lambda: self._folder.forget(job_id)
            )
        except Unavailable:  # perhaps the job is stored, and only the database's answer was lost
            found = await self._accepted(draft.owner, job_id)
            if found is None:
                raise
            job = found
        if job.id != job_id:
            await self._folder.forget(job_id)
            return job, False
        self._news.queued.set()
        return job, True

    async def _accepted(self, owner: str, job_id: str) -> Job | None:
        with suppress(NotFound):
            return await self.store.get(owner, job_id)
        return None

    async def ahead(self, job: Job) -> int | None:
        """How many jobs come before one that waits."""
        return await self.store.ahead(job) if job.status is Status.QUEUED else None

    async def parts(self, job: Job) -> list[Part]:
        """What has been recognised so far."""
        found: list[Part] = []
        while more := await self._pieces.parts(job.id, len(found)):
            found += more
        return found

    async def text(self, job: Job) -> str:
        """The words of what has been recognised so far."""
        return await self._pieces.text(job.id)

    async def result(self, job: Job) -> bytes:
        """The result of a job that is completed.

        Raises:
            NotFound
        """
        if (found := await self._pieces.result(job.id)) is None:
            raise NotFound("The job's result is no longer there.")
        return found

    def expires(self, job: Job) -> float | None:
        """When a job that has ended will be erased."""
        return None if job.finished is None else job.finished + self._keep_seconds

    async def cancel(self, owner: str, job_id: str) -> Job:
        """End a job; one that has ended stays as it is.

        Raises:
            NotFound
        """
        job = await self.store.get(owner, job_id)
        if not job.status.ended:
            ended = await self.store.cancel(job)
            self._runner.stop(job_id)
            self._folder.remove(job_id)
            self._news.about(job_id)
            job = await self.store.get(owner, job_id)
            if ended:  # and has not ended by itself meanwhile
                self._has_ended(job.kind, job.status)
        return job

    async def erase(self, owner: str, job_id: str) -> None:
        """End a job and keep nothing of it.

        Raises:
            NotFound
        """
        await self.cancel(owner, job_id)
        await self.store.erase([job_id])
        self._news.about(job_id)

    async def events(self, job: Job, first: int = 0) -> AsyncGenerator[Event, None]:
        """What happens to a job until it ends, from the part ``first`` on.

        Raises:
            Overloaded: its owner, or everybody together, watches as many jobs as it may.
            Unauthorized: the key of its owner was revoked.
        """
        with self._watchers.watching(job.owner), self._news.watching(job.id) as news:
            shown: Job | None = None
            while True:
                self._owners.check_key(job.owner)
                job = await self.store.get(job.owner, job.id)
                parts = await self._pieces.parts(job.id, first, most=100)
                for part in parts:
                    yield Event(job, first, part)
                    first += 1
                if parts:
                    shown = job
                    continue
                if job.status.ended:
                    yield Event(job)
                    return
                if shown is None or shown.status is not job.status:
                    yield Event(job)
                    shown = job
                await heard(news, _LOOK_SECONDS)

    async def sweep(self) -> None:
        """Remove what has expired, and what was left behind."""
        await self.uploads.sweep()
        await self.files.sweep()
        await self._folder.sweep()
        await self._remove_stray()
        while expired := await self.store.expired(time.time() - self._keep_seconds):
            await self.store.erase(expired)
            for job_id in expired:
                self._folder.remove(job_id)

    def _has_ended(self, kind: str, status: Status) -> None:
        self._ended(kind, status)
        self.webhooks.added.set()

    async def _message(self, delivery: Delivery) -> bytes:
        job = await self.store.get(delivery.owner, delivery.job)
        return self._show(job, self.expires(job))

    async def _remove_stray(self) -> None:
        """Remove the recordings that no unfinished job has. Killed servers leave some behind."""
        before = stray_before("job")
        found = await asyncio.to_thread(self._folder.ids)  # there may be very many
        await self._remove_unknown([job_id for job_id in found if job_id < before])

    async def _remove_unknown(self, job_ids: Collection[str]) -> None:
        if job_ids:
            for job_id in await self.store.unknown(job_ids):
                self._folder.remove(job_id)
