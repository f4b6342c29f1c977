"""OpenAI's Batch API: files of requests, and files of their answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, JsonValue, StringConstraints
from starlette.responses import Response, StreamingResponse

from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.api.access import NAMED_KEY
from reflector_gpu.api.batch_kind import ENDPOINTS, KIND
from reflector_gpu.api.batch_lines import count_lines
from reflector_gpu.api.bodies import MAX_JSON_BYTES
from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import AppIntake, AppJobs, Owner
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.api.intake import announced, single
from reflector_gpu.api.job_fields import PageFields
from reflector_gpu.api.job_views import Erased
from reflector_gpu.api.request_context import RequestContext
from reflector_gpu.api.scopes import check_scope
from reflector_gpu.api.sent_fields import SentFields
from reflector_gpu.errors import InvalidRequest, NotFound
from reflector_gpu.jobs.files import KeptFile
from reflector_gpu.jobs.job import Draft, Job, Status
from reflector_gpu.jobs.jobs import Jobs
from reflector_gpu.types import Priority

router = APIRouter(
    prefix="/v1", tags=["batches"], responses={"default": ANY_FAILURE}, route_class=CheckedQuery
)

_OUTPUT, _ERRORS = "file-output-", "file-errors-"
_LARGEST = 200_000_000  # bytes of an input file
_LONGEST_NAME = 255
_JSONL = "application/jsonl"
_STATUS = {
    Status.QUEUED: "validating",
    Status.RUNNING: "in_progress",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}


class FileView(BaseModel):
    """A file, as OpenAI describes it."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"


class FileList(BaseModel):
    object: Literal["list"] = "list"
    data: list[FileView]
    has_more: bool = False


class RequestCounts(BaseModel):
    total: int
    completed: int
    failed: int


class BatchView(BaseModel):
    """A batch, as OpenAI describes it."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    cancelled_at: int | None = None
    expires_at: int | None = None
    request_counts: RequestCounts
    metadata: dict[str, str]


class BatchList(BaseModel):
    object: Literal["list"] = "list"
    data: list[BatchView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchFields(SentFields):
    """The body of POST /v1/batches."""

    input_file_id: str = Field(description="A file of /v1/files, with a request in each line.")
    endpoint: str = Field(description=f"The route of all requests: one of {', '.join(ENDPOINTS)}.")
    completion_window: str = Field(
        "24h", max_length=64, description="Has no effect: a batch takes as long as it takes."
    )
    metadata: (
        dict[
            Annotated[str, StringConstraints(max_length=64)],
            Annotated[str, StringConstraints(max_length=512)],
        ]
        | None
    ) = Field(None, max_length=16, description="Texts of your own.")


class FileFields(SentFields):
    """The fields of POST /v1/files, besides the file."""

    purpose: str = Field("", description="What the file is for: `batch`.", examples=["batch"])


_FIELDS = AcceptedFields(BatchFields)
_FILE_FIELDS = AcceptedFields(FileFields)


@router.post("/files")
async def create_file(request: Request, intake: AppIntake, jobs: AppJobs, owner: Owner) -> FileView:
    """Upload a file of requests for a batch, one in each line. Its `purpose` is `batch`."""
    async with intake.admit(request, Priority.LIVE) as context:
        with jobs.arriving() as arriving:
            await jobs.check_room(owner, announced(request))
            form = await intake.form(context, spool=arriving.spool)
            fields = intake.form_fields(request, _FILE_FIELDS, form)
            if fields.purpose != "batch":
                raise InvalidRequest("Files have the purpose 'batch' here.", param="purpose")
            name = single(form).filename.replace("\0", "")[:_LONGEST_NAME]
            return _file(await jobs.files.add(owner, name, fields.purpose, arriving.path))


@router.get("/files")
async def list_files(jobs: AppJobs, owner: Owner) -> FileList:
    """List your files, the newest first."""
    return FileList(data=[_file(one) for one in await jobs.files.listed(owner)])


@router.get("/files/{file_id}")
async def get_file(file_id: str, jobs: AppJobs, owner: Owner) -> FileView:
    """Describe a file: one that was uploaded, or the output of a batch."""
    if not file_id.startswith((_OUTPUT, _ERRORS)):
        return _file(await jobs.files.get(owner, file_id))
    job, failed = await _output(jobs, owner, file_id)
    return FileView(
        id=file_id,
        bytes=await jobs.answers.size(job.id, failed=failed),
        created_at=int(job.finished or 0),
        expires_at=int(jobs.expires(job) or 0),
        filename=f"{job.id}.jsonl",
        purpose="batch_output",
    )


@router.get("/files/{file_id}/content", response_class=Response)
async def get_file_content(file_id: str, jobs: AppJobs, owner: Owner) -> Response:
    """Give the content of a file. The lines of a batch's output are in the order of its input."""
    if file_id.startswith((_OUTPUT, _ERRORS)):
        job, failed = await _output(jobs, owner, file_id)
        lines = jobs.answers.file(job.id, failed=failed)
        return StreamingResponse(lines, media_type=_JSONL)
    file = await jobs.files.get(owner, file_id)
    return StreamingResponse(await jobs.files.content(file), media_type=_JSONL)


@router.delete("/files/{file_id}")
async def delete_file(file_id: str, jobs: AppJobs, owner: Owner) -> Erased:
    """Remove a file that was uploaded. Batches that were made of it go on."""
    await jobs.files.remove(owner, file_id)
    return Erased(id=file_id, object="file")


@router.post("/batches")
async def create_batch(
    request: Request, intake: AppIntake, jobs: AppJobs, owner: Owner
) -> BatchView:
    """Have the requests in a file worked on in the background.

    Each line is `{"custom_id", "method": "POST", "url", "body"}`. A recording is in the body as
    `audio_file_url`, or in base64 as `input_audio`. Live requests come first.
    """
    async with intake.admit(request, Priority.LIVE) as context:
        fields = await intake.json_fields(context, _FIELDS, MAX_JSON_BYTES)
        draft, path = await _draft(context, jobs, owner, fields)
        job, _ = await jobs.add(draft, path)
    return _batch(job, jobs)


async def _draft(
    context: RequestContext, jobs: Jobs, owner: str, fields: BatchFields
) -> tuple[Draft, Path]:
    if fields.endpoint not in ENDPOINTS:
        raise InvalidRequest(f"endpoint: should be one of {', '.join(ENDPOINTS)}", param="endpoint")
    if key := getattr(context.request.state, NAMED_KEY, None):
        check_scope(key, fields.endpoint)
    try:
        file = await jobs.files.get(owner, fields.input_file_id)
        if file.size > _LARGEST:
            raise InvalidRequest(
                f"A batch's file has at most {_LARGEST} bytes.", param="input_file_id"
            )
        path = await context.resources.enter_async_context(jobs.files.local(file))
    except NotFound as error:
        raise InvalidRequest(error.message, param="input_file_id") from None
    counting = asyncio.to_thread(_count, path, fields.endpoint)
    options: dict[str, JsonValue] = {
        "endpoint": fields.endpoint,
        "input_file_id": file.id,
        "completion_window": fields.completion_window,
        "lines": await unless_disconnected(context.request, counting),
    }
    metadata = fields.metadata or {}
    return Draft(owner, KIND, options, file.name, "", metadata=metadata, source=file.id), path


def _count(path: Path, endpoint: str) -> int:
    try:
        with path.open("rb") as file:
            return count_lines(file.read, endpoint)
    except FileNotFoundError:
        raise InvalidRequest("The file was deleted.", param="input_file_id") from None


@router.get("/batches")
async def list_batches(
    jobs: AppJobs, owner: Owner, asked: Annotated[PageFields, Query()]
) -> BatchList:
    """List your batches, the newest first. `after` is the `last_id` of the page before."""
    found = await jobs.store.listed(owner, kind=KIND, after=asked.after, limit=asked.limit + 1)
    shown = [_batch(job, jobs) for job in found[: asked.limit]]
    return BatchList(
        data=shown,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=len(found) > asked.limit,
    )


@router.get("/batches/{batch_id}")
async def get_batch(batch_id: str, jobs: AppJobs, owner: Owner) -> BatchView:
    """Say how far a batch has come."""
    return _batch(await _job(jobs, owner, batch_id), jobs)


@router.post("/batches/{batch_id}/cancel")
async def cancel_batch(batch_id: str, jobs: AppJobs, owner: Owner) -> BatchView:
    """End a batch."""
    await _job(jobs, owner, batch_id)
    return _batch(await jobs.cancel(owner, batch_id), jobs)


async def _job(jobs: Jobs, owner: str, batch_id: str) -> Job:
    try:
        job = await jobs.store.get(owner, batch_id)
    except NotFound:
        raise NotFound("There is no such batch; it may have expired or been deleted.") from None
    if job.kind != KIND:
        raise NotFound("This is a job and not a batch; GET it from /v1/jobs.")
    return job


async def _output(jobs: Jobs, owner: str, file_id: str) -> tuple[Job, bool]:
    """The batch of an output file, and whether the file is that of errors.

    Raises:
        NotFound
    """
    failed = file_id.startswith(_ERRORS)
    job = await _job(jobs, owner, file_id.removeprefix(_ERRORS if failed else _OUTPUT))
    if not job.status.ended:
        raise NotFound("The batch is not done.")
    return job, failed


def _file(file: KeptFile) -> FileView:
    return FileView(
        id=file.id,
        bytes=file.size,
        created_at=int(file.created),
        expires_at=int(file.expires),
        filename=file.name,
        purpose=file.purpose,
    )


def _status(job: Job) -> str:
    if job.status is Status.QUEUED and job.started is not None:
        return _STATUS[Status.RUNNING]  # it waits to go on, for example after a restart
    return _STATUS[job.status]


def _batch(job: Job, jobs: Jobs) -> BatchView:
    succeeded, failed = round(job.position) - job.lines_failed, job.lines_failed
    done = job.status.ended
    ended = None if job.finished is None else int(job.finished)
    expires = jobs.expires(job)
    return BatchView(
        id=job.id,
        endpoint=str(job.options["endpoint"]),
        input_file_id=str(job.options["input_file_id"]),
        completion_window=str(job.options["completion_window"]),
        status=_status(job),
        output_file_id=f"{_OUTPUT}{job.id}" if done and succeeded else None,
        error_file_id=f"{_ERRORS}{job.id}" if done and failed else None,
        created_at=int(job.created),
        in_progress_at=None if job.started is None else int(job.started),
        completed_at=ended if job.status is Status.COMPLETED else None,
        failed_at=ended if job.status is Status.FAILED else None,
        cancelled_at=ended if job.status is Status.CANCELLED else None,
        expires_at=None if expires is None else int(expires),
        request_counts=RequestCounts(
            total=int(str(job.options["lines"])), completed=succeeded, failed=failed
        ),
        metadata=job.metadata,
    )
