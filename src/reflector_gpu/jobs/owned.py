"""Jobs that a server has taken, and may have lost."""

from __future__ import annotations

from reflector_gpu.jobs.job import Job
from reflector_gpu.store.database import Connection, Value


class Lost(Exception):
    """The job is not this server's any more: it was cancelled, or taken over."""


def own(connection: Connection, job: Job, statement: str, *values: Value) -> None:
    """Run ``statement`` on a job that is still its worker's; the words ``{mine}`` say that."""
    mine = "id = ? AND worker = ? AND status = 'running'"
    if not connection.change(statement.format(mine=mine), *values, job.id, job.worker):
        raise Lost
