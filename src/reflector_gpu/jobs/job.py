"""What a job is."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, JsonValue, TypeAdapter
from pydantic_core import from_json

from reflector_gpu.store.database import Row

Options: TypeAlias = Mapping[str, JsonValue]
"""The fields of a request, as the client sent them."""


class Status(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (Status.QUEUED, Status.RUNNING)


def _parsed(value: object) -> object:
    return from_json(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in the words of the synchronous call."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that a client wants. Its recording is at ``url``, or in the job's folder already.

    Two drafts with the same ``idempotency_key`` are the same request if they have the same
    ``fingerprint``. ``source`` is the upload or the file that the recording comes from.
    """

    owner: str
    kind: str
    options: Options
    name: str
    fingerprint: str
    url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    idempotency_key: str | None = None
    webhook_url: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the database has it. Times are seconds since 1970, positions of audio.

    ``owner`` is who may see it. ``resumed`` is when a server last took it, and it had come to
    ``resumed_at`` then. It is not taken before ``due``. Since its last progress, its server has
    died ``deaths`` times, and it has failed ``failures`` times for a reason that may pass. The
    position and the duration of a batch are counted in lines; ``lines_failed`` of them have failed.
    """

    id: str
    owner: str
    kind: str
    status: Status
    priority: int
    created: float
    started: float | None
    finished: float | None
    name: str
    url: str | None
    options: Annotated[dict[str, JsonValue], BeforeValidator(_parsed)]
    metadata: Annotated[dict[str, str], BeforeValidator(_parsed)]
    idempotency_key: str | None
    fingerprint: str
    webhook_url: str | None
    duration: float | None
    position: float
    resumed: float | None
    resumed_at: float
    due: float
    deaths: int
    failures: int
    worker: str | None
    lease: float | None
    error: Annotated[JobError | None, BeforeValidator(_parsed)]
    model: str | None
    lines_failed: int = 0

    @classmethod
    def of(cls, row: Row) -> Job:
        return _JOB.validate_python(dict(row))

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None until its length is known."""
        if self.status is Status.COMPLETED:
            return 1.0
        return min(1.0, self.position / self.duration) if self.duration else None

    def seconds_left(self, now: float) -> float | None:
        """How long it will take at the pace so far; None until there is one."""
        done = self.position - self.resumed_at
        if self.status is not Status.RUNNING or not self.duration or not self.resumed or done <= 0:
            return None
        return max(0.0, (self.duration - self.position) * (now - self.resumed) / done)


_JOB = TypeAdapter(Job)
_JOB_ID = re.compile(r"job_[0-9a-f]{32}")
_STRAY_SECONDS = 3600.0  # after which the bytes that no row has will get none


def new_id(prefix: str) -> str:
    """An identifier that nobody can guess. Later ones are greater."""
    return f"{prefix}_{time.time_ns():016x}{secrets.token_hex(8)}"


def stray_before(prefix: str) -> str:
    """Bytes are kept before their row is. If their identifier is less than this and they have no
    row yet, they are left over."""
    return f"{prefix}_{int((time.time() - _STRAY_SECONDS) * 1e9):016x}"


def is_job_id(text: str) -> bool:
    """Whether ``text`` has the form of a job's id. The job itself may be erased by now."""
    return _JOB_ID.fullmatch(text) is not None
