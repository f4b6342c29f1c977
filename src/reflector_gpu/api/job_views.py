"""Jobs as clients see them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field, JsonValue, field_serializer

from reflector_gpu.formats import openai
from reflector_gpu.formats.schemas import SpokenWord
from reflector_gpu.jobs.job import Job, Status
from reflector_gpu.jobs.jobs import Event
from reflector_gpu.pipeline.transcription import Part


class JobProgress(BaseModel):
    """How far a job has come."""

    audio_seconds: float = Field(description="Seconds of the recording that are done.")
    duration: float | None = Field(
        description="Seconds of the recording, as far as is known by now."
    )
    percent: float | None = Field(description="The share that is done; null: not known yet.")
    seconds_left: float | None = Field(
        description="How long it will take at the pace so far; null: not known."
    )
    jobs_ahead: int | None = Field(description="How many jobs come before it, while it waits.")


class JobFailure(BaseModel):
    """Why a job failed; the fields are those of every error."""

    message: str
    code: str | None
    param: str | None = None


class JobView(BaseModel):
    """A job."""

    id: str = Field(examples=["job_18a2f0c9d1e4b3a7f0e1d2c3b4a59687"])
    object: Literal["job"] = "job"
    kind: str
    status: Status
    created_at: float = Field(description="Times are seconds since 1970.")
    started_at: float | None
    finished_at: float | None
    expires_at: float | None = Field(description="When the job and its result will be erased.")
    filename: str
    model: str | None
    priority: int
    metadata: dict[str, str]
    progress: JobProgress
    error: JobFailure | None = None
    text: str | None = Field(None, description="The words so far; not in lists.")
    words: list[SpokenWord] | None = Field(None, description="The same with times, if asked for.")

    @field_serializer("words")
    def _as_in_results(self, words: list[SpokenWord] | None) -> list[dict[str, JsonValue]] | None:
        if words is None:
            return None
        return [word.model_dump(exclude_none=True) for word in words]


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    object: Literal["list"] = "list"
    data: list[JobView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Erased(BaseModel):
    """The answer to the erasure of something."""

    id: str
    object: str
    deleted: Literal[True] = True


def view(
    job: Job,
    *,
    expires: float | None = None,
    ahead: int | None = None,
    text: str | None = None,
    words: Iterable[SpokenWord] | None = None,
) -> JobView:
    """``job`` for a client."""
    share, left = job.share, job.seconds_left(time.time())
    return JobView(
        id=job.id,
        kind=job.kind,
        status=job.status,
        created_at=job.created,
        started_at=job.started,
        finished_at=job.finished,
        expires_at=expires,
        filename=job.name,
        model=job.model,
        priority=job.priority,
        metadata=job.metadata,
        progress=JobProgress(
            audio_seconds=round(job.position, 2),
            duration=None if job.duration is None else round(job.duration, 2),
            percent=None if share is None else round(100 * share, 1),
            seconds_left=None if left is None else round(left, 1),
            jobs_ahead=ahead,
        ),
        error=JobFailure(message=job.error.message, code=job.error.code, param=job.error.param)
        if job.error
        else None,
        text=text,
        words=None if words is None else list(words),
    )


def event_text(event: Event) -> str:
    """An event of a stream. Its id says which parts of the transcript have been sent."""
    if event.part is None or event.number is None:
        return _server_sent(f"job.{event.job.status}", view(event.job).model_dump(mode="json"))
    body: dict[str, object] = {
        "type": "job.progress",
        "job_id": event.job.id,
        "progress": view(_as_of(event.part, event.job)).progress.model_dump(mode="json"),
        "delta": _delta(event.part, follows=event.number > 0),
    }
    return f"id: {event.number + 1}\n{_server_sent('job.progress', body)}"


def _as_of(part: Part, job: Job) -> Job:
    """``job`` when it had come to ``part``, which may be sent again much later."""
    if job.status.ended:
        return replace(job, status=Status.RUNNING, resumed=None, position=part.position)
    return replace(job, position=part.position)


def _delta(part: Part, *, follows: bool) -> list[dict[str, object]]:
    make = openai.next_delta if follows else openai.delta
    found: list[dict[str, object]] = []
    for segment in part.segments:
        found.append(make(segment).model_dump(mode="json", exclude_none=True))
        make = openai.next_delta
    return found


def _server_sent(name: str, body: dict[str, object]) -> str:
    return f"event: {name}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"


def webhook_body(job: Job, expires: float | None) -> bytes:
    """What a webhook says: what happened, when, and the job without its words."""
    ended = job.finished or job.created
    body = {
        "type": f"job.{job.status}",
        "timestamp": datetime.fromtimestamp(ended, UTC).isoformat(),
        "data": view(job, expires=expires).model_dump(mode="json", exclude={"text", "words"}),
    }
    return json.dumps(body, ensure_ascii=False).encode()


def page(jobs: Iterable[JobView], limit: int) -> JobList:
    """A page of at most ``limit`` jobs. The caller has looked for one more."""
    found = list(jobs)
    shown = found[:limit]
    return JobList(
        data=shown,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=len(found) > limit,
    )
