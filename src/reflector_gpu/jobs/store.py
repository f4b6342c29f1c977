"""Jobs in the database. A job is taken by one server at a time, and is never lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, fields

from pydantic_core import to_json

from reflector_gpu.errors import NotFound, TooLarge
from reflector_gpu.jobs.allowance import UNLIMITED, Allowance
from reflector_gpu.jobs.deliveries import add_delivery
from reflector_gpu.jobs.idempotency import check_same_request, job_with_key
from reflector_gpu.jobs.job import Draft, Job, JobError, Status
from reflector_gpu.jobs.owned import own
from reflector_gpu.store import usage
from reflector_gpu.store.database import Connection, Database, Value

_LONGEST_OPTIONS = 5_000_000  # bytes, as JSON

# Fields may have recordings of voices, which a list does not show. Those of batches are short.
_LISTED = ", ".join(
    "CASE kind WHEN 'batch' THEN options ELSE '{}' END AS options" if name == "options" else name
    for name in (field.name for field in fields(Job))
)

_UNENDED = (Status.QUEUED, Status.RUNNING)


class JobStore:
    """The jobs of all servers that share a database."""

    def __init__(
        self,
        database: Database,
        lease: float,
        clock: Callable[[], float] = time.time,
        allowance: Allowance = UNLIMITED,
    ) -> None:
        """A server that says nothing for ``lease`` seconds loses its jobs to others."""
        self._database = database
        self._lease = lease
        self._clock = clock
        self._allowance = allowance

    async def add(self, job_id: str, draft: Draft, size: int = 0) -> Job:
        """The job of ``draft``: a new one, or the one that its idempotency key already has.

        It has ``size`` bytes on disk.

        Raises:
            InvalidRequest: another request has used the key, or the fields are too long.
            Overloaded, TooLarge: the owner keeps as much as it may.
        """
        now, options = self._clock(), _json(draft.options)
        if len(options) > _LONGEST_OPTIONS:
            raise TooLarge(
                f"The fields of a job have at most {_LONGEST_OPTIONS} bytes in all; send shorter "
                "samples of the voices."
            )

        def work(connection: Connection) -> Job:
            if earlier := job_with_key(connection, draft.owner, draft.idempotency_key):
                return earlier
            more = 0 if draft.source else size
            self._allowance.check(connection, draft.owner, more, jobs=1)
            connection.change(
                "INSERT INTO jobs (id, owner, kind, status, priority, created, name, url, options,"
                " metadata, idempotency_key, fingerprint, webhook_url, position, resumed_at, due,"
                " deaths, failures, bytes, source)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, 0, 0, ?, ?)"
                " ON CONFLICT DO NOTHING",
                job_id,
                draft.owner,
                draft.kind,
                Status.QUEUED.value,
                draft.priority,
                now,
                draft.name,
                draft.url,
                options,
                _json(draft.metadata),
                draft.idempotency_key,
                draft.fingerprint,
                draft.webhook_url,
                now,
                size,
                draft.source,
            )
            found = connection.rows(
                "SELECT * FROM jobs WHERE id = ? OR (owner = ? AND idempotency_key = ?)",
                job_id,
                draft.owner,
                draft.idempotency_key,
            )
            return Job.of(found[0])

        job = await self._database.write(work)
        check_same_request(job, draft)
        return job

    async def earlier(self, draft: Draft) -> Job | None:
        """The job that the idempotency key of ``draft`` already has.

        Raises:
            InvalidRequest: another request has used the key.
        """
        job = await self.with_key(draft.owner, draft.idempotency_key)
        if job:
            check_same_request(job, draft)
        return job

    async def with_key(self, owner: str, idempotency_key: str | None) -> Job | None:
        """The job of ``owner`` with this key."""
        return await self._database.read(lambda c: job_with_key(c, owner, idempotency_key))

    async def get(self, owner: str, job_id: str) -> Job:
        """
        Raises:
            NotFound: ``owner`` has no such job.
        """
        found = await self._database.read(
            lambda c: c.rows("SELECT * FROM jobs WHERE id = ? AND owner = ?", job_id, owner)
        )
        if not found:
            raise NotFound("There is no such job; it may have expired or been deleted.")
        return Job.of(found[0])

    async def listed(
        self,
        owner: str,
        *,
        statuses: Collection[Status] = (),
        kind: str | None = None,
        idempotency_key: str | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> list[Job]:
        """The newest jobs of ``owner`` first; ``after`` is the last one of the page before."""
        conditions, values = ["owner = ?"], list[Value]([owner])
        if statuses:
            conditions.append(f"status IN ({_marks(statuses)})")
            values += [status.value for status in statuses]
        if kind is None:
            conditions.append("kind <> 'batch'")  # those are listed by a route of their own
        if kind:
            conditions.append("kind = ?")
            values.append(kind)
        if idempotency_key:
            conditions.append("idempotency_key = ?")
            values.append(idempotency_key)
        if after:
            conditions.append("id < ?")
            values.append(after)
        where = " AND ".join(conditions)
        found = await self._database.read(
            lambda c: c.rows(
                f"SELECT {_LISTED} FROM jobs WHERE {where} ORDER BY id DESC LIMIT ?",
                *values,
                limit,
            )
        )
        return [Job.of(row) for row in found]

    async def ahead(self, job: Job) -> int:
        """How many jobs will be taken before one that waits."""
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT (SELECT count(*) FROM jobs WHERE status = ? AND priority > ?) +"
                " (SELECT count(*) FROM jobs WHERE status = ? AND priority = ? AND id < ?) AS n",
                Status.QUEUED.value,
                job.priority,
                Status.QUEUED.value,
                job.priority,
                job.id,
            )
        )
        return int(found[0]["n"] or 0)

    async def take(self, worker: str) -> Job | None:
        """The next job, which belongs to ``worker`` from now on.

        That is one whose server died, or the first that waits.
        """
        now = self._clock()

        def work(connection: Connection) -> Job | None:
            for which, values in (
                ("status = ? AND lease < ? ORDER BY id", (Status.RUNNING.value, now)),
                (
                    "status = ? AND due <= ? ORDER BY priority DESC, id",
                    (Status.QUEUED.value, now),
                ),
            ):
                taken = connection.rows(
                    "UPDATE jobs SET deaths ="
                    " deaths + CASE status WHEN 'running' THEN 1 ELSE 0 END, status = 'running',"
                    " worker = ?, lease = ?, started = coalesce(started, ?),"
                    " resumed = ?, resumed_at = position WHERE id ="
                    f" (SELECT id FROM jobs WHERE {which} LIMIT 1{connection.unlocked})"
                    " RETURNING *",
                    worker,
                    now + self._lease,
                    now,
                    now,
                    *values,
                )
                if taken:
                    return Job.of(taken[0])
            return None

        return await self._database.note(work)

    async def renew(self, workers: Iterable[str]) -> set[str]:
        """Keep the jobs of ``workers`` for another lease. Returns the workers that have lost
        theirs."""
        until = self._clock() + self._lease
        asked = list(workers)

        def work(connection: Connection) -> set[str]:
            return {
                worker
                for worker in asked
                if not connection.change(
                    "UPDATE jobs SET lease = ? WHERE worker = ? AND status = 'running'",
                    until,
                    worker,
                )
            }

        return await self._database.note(work) if asked else set()

    async def release_all(self) -> None:
        """Let all jobs of servers be taken. The caller knows that none of them is alive."""
        await self._database.write(
            lambda c: c.change("UPDATE jobs SET lease = 0 WHERE status = 'running'")
        )

    async def release(self, server: str) -> None:
        """Let the jobs of all workers of ``server`` be taken again at once.

        The name of a worker is that of its server, a hyphen and a number.
        """
        now = self._clock()
        await self._database.note(
            lambda c: c.change(
                "UPDATE jobs SET status = 'queued', worker = NULL, due = ?"
                " WHERE worker LIKE ? AND status = 'running'",
                now,
                f"{server}-%",
            )
        )

    async def received(self, job: Job, size: int) -> None:
        """The recording of a running job has come from its URL, and has ``size`` bytes.

        Raises:
            Lost
        """
        await self._database.note(
            lambda c: own(c, job, "UPDATE jobs SET bytes = ? WHERE {mine}", size)
        )

    async def put_back(self, job: Job, *, wait: float, failed: bool) -> None:
        """Let a running job be taken again in ``wait`` seconds."""
        due = self._clock() + wait

        def work(connection: Connection) -> None:
            connection.change(
                "UPDATE jobs SET status = 'queued', worker = NULL, due = ?,"
                " failures = failures + ? WHERE id = ? AND worker = ? AND status = 'running'",
                due,
                int(failed),
                job.id,
                job.worker,
            )

        await self._database.note(work)

    async def complete(self, job: Job, result: bytes, duration: float, used: float) -> None:
        """Keep the result, and the audio that was used for it beyond that of its parts.

        Raises:
            Lost
        """

        def work(connection: Connection) -> None:
            self._end(
                connection, job, Status.COMPLETED, "position = ?, duration = ?", duration, duration
            )
            connection.change("INSERT INTO results (job, body) VALUES (?, ?)", job.id, result)
            if used:
                usage.count(connection, job.owner, usage.day_of(self._clock()), audio_seconds=used)

        await self._database.write(work)

    async def fail(self, job: Job, error: JobError) -> None:
        """
        Raises:
            Lost
        """
        told = _json(asdict(error))
        await self._database.write(lambda c: self._end(c, job, Status.FAILED, "error = ?", told))

    async def cancel(self, job: Job) -> bool:
        """End a job; what it has recognised stays. Returns False if it has ended already."""
        now = self._clock()

        def work(connection: Connection) -> bool:
            ended = connection.change(
                "UPDATE jobs SET status = ?, finished = ?, worker = NULL, url = NULL"
                f" WHERE id = ? AND status IN ({_marks(_UNENDED)})",
                Status.CANCELLED.value,
                now,
                job.id,
                *(status.value for status in _UNENDED),
            )
            _forget(connection, job)
            if ended:
                add_delivery(connection, job.id, job.webhook_url, now)
            return ended > 0

        return await self._database.write(work)

    async def erase(self, job_ids: Collection[str]) -> None:
        """Keep nothing of these jobs."""
        if not job_ids:
            return
        marks = _marks(job_ids)

        def work(connection: Connection) -> None:
            for table in (
                "recordings",
                "recognitions",
                "parts",
                "results",
                "answers",
                "deliveries",
            ):
                connection.change(f"DELETE FROM {table} WHERE job IN ({marks})", *job_ids)
            connection.change(f"DELETE FROM jobs WHERE id IN ({marks})", *job_ids)

        await self._database.write(work)

    async def expired(self, before: float) -> list[str]:
        """Some of the jobs that ended ``before`` that time."""
        found = await self._database.read(
            lambda c: c.rows("SELECT id FROM jobs WHERE finished < ? LIMIT 500", before)
        )
        return [str(row["id"]) for row in found]

    async def unknown(self, job_ids: Collection[str]) -> set[str]:
        """Those of ``job_ids`` that no unended job has."""
        found = await self._database.read(
            lambda c: c.rows("SELECT id FROM jobs WHERE status IN ('queued', 'running')")
        )
        return set(job_ids) - {str(row["id"]) for row in found}

    async def counts(self) -> dict[Status, int]:
        """How many jobs wait and run."""
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT status, count(*) AS n FROM jobs"
                " WHERE status IN ('queued', 'running') GROUP BY status"
            )
        )
        return dict.fromkeys(_UNENDED, 0) | {
            Status(str(row["status"])): int(row["n"] or 0) for row in found
        }

    def _end(
        self, connection: Connection, job: Job, status: Status, also: str, *values: Value
    ) -> None:
        own(
            connection,
            job,
            f"UPDATE jobs SET {also}, status = '{status.value}', finished = {self._clock()!r},"
            " url = NULL WHERE {mine}",
            *values,
        )
        _forget(connection, job)
        add_delivery(connection, job.id, job.webhook_url, self._clock())


def _forget(connection: Connection, job: Job) -> None:
    """Remove what only a running job needs."""
    for table in ("recordings", "recognitions"):
        connection.change(f"DELETE FROM {table} WHERE job = ?", job.id)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _json(value: object) -> str:
    return to_json(value).decode()
