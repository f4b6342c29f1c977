"""Requests that are sent again with the idempotency key of an earlier one."""

from __future__ import annotations

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.jobs.job import Draft, Job
from reflector_gpu.store.database import Connection


def job_with_key(connection: Connection, owner: str, idempotency_key: str | None) -> Job | None:
    """The job that ``owner`` has with this key."""
    if idempotency_key is None:
        return None
    found = connection.rows(
        "SELECT * FROM jobs WHERE owner = ? AND idempotency_key = ?", owner, idempotency_key
    )
    return Job.of(found[0]) if found else None


def check_same_request(job: Job, draft: Draft) -> None:
    """Check whether ``job``, which has the idempotency key of ``draft``, was made of it.

    Raises:
        InvalidRequest: it was made of another request.
    """
    if job.fingerprint != draft.fingerprint:
        raise InvalidRequest(
            "Another request has used this idempotency key; send a new one, or the same "
            "request again.",
            param="idempotency_key",
        )
