"""Jobs: work on recordings that goes on without the client, and survives the server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from reflector_gpu.api import job_openapi, responses
from reflector_gpu.api.bodies import MAX_JSON_BYTES
from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.connection import Deadline, EventStream, first_event
from reflector_gpu.api.dependencies import AppIntake, AppJobKinds, AppJobs, AppService, Owner
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.api.form_values import form_values, json_values
from reflector_gpu.api.intake import Intake, announced, single
from reflector_gpu.api.job_fields import (
    DIARIZATION,
    SPOKEN,
    DiarizationJobFields,
    JobFields,
    Kind,
    ListFields,
    ResultFields,
    TranscriptionJobFields,
    options_of,
)
from reflector_gpu.api.job_views import (
    Erased,
    JobList,
    JobView,
    event_text,
    page,
    view,
)
from reflector_gpu.api.request_context import RequestContext
from reflector_gpu.audio.guard import URL_FIELD, parse_url
from reflector_gpu.errors import InvalidRequest, UndecodableAudio, blaming
from reflector_gpu.formats import audio_warnings
from reflector_gpu.formats.response_format import EVENT_STREAM
from reflector_gpu.formats.words import spoken_words
from reflector_gpu.jobs.folder import Arriving, digest_of
from reflector_gpu.jobs.job import Draft, Job, Status
from reflector_gpu.jobs.jobs import Jobs
from reflector_gpu.jobs.records import TRANSCRIPT
from reflector_gpu.pipeline.transcription import Gathered
from reflector_gpu.service.parameters import explained
from reflector_gpu.types import Priority, Transcript

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=CheckedQuery)

_FAILURES: dict[int | str, dict[str, Any]] = {"default": ANY_FAILURE}
_JSON = "application/json"
_IDEMPOTENCY = "Idempotency-Key"
_LONGEST_NAME = 255
_LONGEST_WATCH = 12 * 3600.0  # seconds


@router.post(
    "",
    status_code=202,
    openapi_extra=job_openapi.create,
    response_model=JobView,
    responses=_FAILURES,
)
async def create_job(
    request: Request, intake: AppIntake, jobs: AppJobs, kinds: AppJobKinds, owner: Owner
) -> Response:
    """Submit a recording to be worked on in the background.

    The recording is uploaded as `file`, or `audio_file_url` says where it is, or it is the
    `upload_id` of a resumable upload. The fields are those of the synchronous call of the `kind`.
    Once the answer is there, the job is safe: a server that is killed goes on with it at its next
    start, and recognises no finished part again.
    """
    async with intake.admit(request, Priority.LIVE) as context:
        with jobs.arriving() as arriving:
            if not _is_json(request):
                await jobs.check_room_for_new(owner, announced(request), _early_key(request))
            values, path, name = await _body(request, intake, context, arriving)
            fields = _fields(request, intake, values)
            if fields.webhook_url is not None:
                with blaming({URL_FIELD: "webhook_url"}):
                    _check_absolute(fields.webhook_url)
                    await jobs.webhooks.check(fields.webhook_url)
            field = _source(
                {"file": path, URL_FIELD: fields.audio_file_url, "upload_id": fields.upload_id}
            )
            if fields.upload_id is not None:
                # The upload may be gone by now.
                draft = await _draft(fields, values, owner, None, name)
                if earlier := await jobs.store.earlier(draft):
                    return await _answer(jobs, earlier, new=False)
                path, name = await context.resources.enter_async_context(
                    jobs.uploads.recording(owner, fields.upload_id)
                )
            if path is not None and not path.stat().st_size:
                raise UndecodableAudio("The file is empty.", param=field)
            draft = await _draft(fields, values, owner, path, name)
            await kinds[fields.kind].check(draft.options)
            job, new = await jobs.add(draft, path)
    return await _answer(jobs, job, new=new)


@router.get("", responses=_FAILURES)
async def list_jobs(jobs: AppJobs, owner: Owner, asked: Annotated[ListFields, Query()]) -> JobList:
    """List your jobs, the newest first. `after` is the `last_id` of the page before."""
    found = await jobs.store.listed(
        owner,
        statuses=asked.status,
        kind=asked.kind,
        idempotency_key=asked.idempotency_key,
        after=asked.after,
        limit=asked.limit + 1,
    )
    return page((view(job, expires=jobs.expires(job)) for job in found), asked.limit)


@router.get("/{job_id}", responses=_FAILURES, response_model=JobView)
async def get_job(
    job_id: str, jobs: AppJobs, owner: Owner, service: AppService, words: bool = False
) -> Response:
    """Say how far a job has come, and what words there are so far.

    With `words=true` they have times as well. While a job waits, `jobs_ahead` says how many come
    before it.
    """
    job = await jobs.store.get(owner, job_id)
    shown = partial(view, job, expires=jobs.expires(job), ahead=await jobs.ahead(job))
    if not words:
        return Response(shown(text=await jobs.text(job)).model_dump_json(), media_type=_JSON)
    so_far, spaces = await _so_far(jobs, job), service.settings.word_spaces

    def timed() -> str:
        found = spoken_words(so_far.words, spaces)
        return shown(text=so_far.text, words=found).model_dump_json()

    # In a thread, as the result: an hour of words would hold up other requests.
    return Response(await asyncio.to_thread(timed), media_type=_JSON)


@router.get(
    "/{job_id}/events",
    responses={
        200: {"content": {EVENT_STREAM: {}}, "description": "Events until the job ends"},
        **_FAILURES,
    },
    response_class=Response,
)
async def watch_job(job_id: str, request: Request, jobs: AppJobs, owner: Owner) -> Response:
    """Report what happens to a job, as server-sent events, until it ends.

    `job.queued`, `job.running`, `job.progress` with the new words as `delta`, and at last
    `job.completed`, `job.failed` or `job.cancelled`. A client that lost the connection sends the
    `Last-Event-ID`, as browsers do by themselves, and gets what it has missed.
    """
    job = await jobs.store.get(owner, job_id)
    events = _texts(jobs, job, _last_event(request))
    resources = AsyncExitStack()
    first = await first_event(events, resources)
    return EventStream(first, events, resources, Deadline(request, _LONGEST_WATCH))


@router.get(
    "/{job_id}/result",
    responses={
        200: {
            "content": {"application/json": {}, "text/plain": {}},
            "description": "The answer of the synchronous call",
        },
        **_FAILURES,
    },
    response_class=Response,
)
async def get_job_result(
    job_id: str,
    jobs: AppJobs,
    kinds: AppJobKinds,
    owner: Owner,
    asked: Annotated[ResultFields, Query()],
) -> Response:
    """Give the result of a job that is completed, in any `format` of the synchronous call.

    A job that failed or was cancelled has none. `partial=true` gives what it had recognised.
    """
    job = await jobs.store.get(owner, job_id)
    if job.status is Status.COMPLETED:
        packed = await jobs.result(job)
    elif asked.partial and _has_words(job):
        so_far = replace(await _so_far(jobs, job), duration=job.position)
        packed = await asyncio.to_thread(TRANSCRIPT.pack, so_far)
    else:
        raise InvalidRequest(_no_result(job), param="job_id")
    found = await asyncio.to_thread(kinds[job.kind].render, job, packed, asked)
    response = responses.of_body(found.body)
    response.headers["content-type"] = found.media_type
    response.headers.update(audio_warnings.headers(found.warnings))
    return response


@router.post("/{job_id}/cancel", responses=_FAILURES)
async def cancel_job(job_id: str, jobs: AppJobs, owner: Owner) -> JobView:
    """End a job. What it has recognised stays until it expires; its recording does not."""
    job = await jobs.cancel(owner, job_id)
    return view(job, expires=jobs.expires(job))


@router.delete("/{job_id}", responses=_FAILURES)
async def delete_job(job_id: str, jobs: AppJobs, owner: Owner) -> Erased:
    """End a job and erase everything of it: recording, words, result."""
    await jobs.erase(owner, job_id)
    return Erased(id=job_id, object="job")


async def _answer(jobs: Jobs, job: Job, *, new: bool) -> Response:
    body = view(job, expires=jobs.expires(job), ahead=await jobs.ahead(job))
    return Response(body.model_dump_json(), 202 if new else 200, media_type=_JSON)


async def _body(
    request: Request, intake: Intake, context: RequestContext, arriving: Arriving
) -> tuple[dict[str, object], Path | None, str]:
    """The fields of a request, and its recording if that comes along, with its name."""
    query = request.query_params.multi_items()
    if _is_json(request):
        body = await intake.body(context, MAX_JSON_BYTES)
        sent = json_values(body) if body.strip() else {}
        return form_values(query, TranscriptionJobFields) | sent, None, ""
    form = await intake.form(context, spool=arriving.spool, required=False)
    pairs = [*query, *form.fields]
    values = form_values(pairs, _model_of(dict(pairs).get("kind"))) | form.values
    if not form.files:
        return values, None, ""
    return values, arriving.path, single(form).filename


def _is_json(request: Request) -> bool:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return content_type in ("", _JSON)


def _model_of(kind: str | None) -> type[JobFields]:
    return DiarizationJobFields if kind == "diarization" else TranscriptionJobFields


def _fields(
    request: Request, intake: Intake, values: dict[str, object]
) -> TranscriptionJobFields | DiarizationJobFields:
    if header := request.headers.get(_IDEMPOTENCY):
        values.setdefault("idempotency_key", header)
    with explained():
        kind: Kind = JobFields.model_validate({"kind": values.get("kind") or "transcription"}).kind
    if kind == "diarization":
        return intake.fields(request, DIARIZATION, values)
    return intake.fields(request, SPOKEN[kind], values)


def _check_absolute(webhook_url: str) -> None:
    """
    Raises:
        InvalidRequest: nothing can be sent there. The message does not speak of recordings.
    """
    try:
        parse_url(webhook_url)
    except InvalidRequest:
        raise InvalidRequest(
            "The address cannot be read. Send an absolute one, such as https://host/hook.",
            param="webhook_url",
        ) from None


def _early_key(request: Request) -> str | None:
    """The idempotency key, if it is told before the body."""
    return request.headers.get(_IDEMPOTENCY) or request.query_params.get("idempotency_key")


def _source(sources: Mapping[str, object]) -> str:
    """The one of the fields ``sources`` that was sent.

    Raises:
        InvalidRequest: there is none, or several.
    """
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InvalidRequest(
            "Send the recording as 'file', its address as 'audio_file_url', or the 'upload_id' of "
            "what is at /v1/uploads" + (", and only one of them." if given else "."),
            param=given[1] if given else "file",
        )
    return given[0]


async def _draft(
    fields: TranscriptionJobFields | DiarizationJobFields,
    values: Mapping[str, object],
    owner: str,
    path: Path | None,
    name: str,
) -> Draft:
    url = fields.audio_file_url
    if url is not None:
        name = parse_url(url).path.rpartition("/")[2] or "audio"
    name = name.replace("\0", "")[:_LONGEST_NAME]  # PostgreSQL keeps no NUL
    options = options_of(fields.kind, values)
    told = hashlib.sha256(to_json([fields.kind, options, url, fields.upload_id]))
    if path and fields.idempotency_key and fields.upload_id is None:
        told.update((await digest_of(path)).encode())
    return Draft(
        owner,
        fields.kind,
        options,  # type: ignore[arg-type]  # forms and JSON give nothing else
        name,
        told.hexdigest(),
        url=url,
        metadata=fields.metadata,
        priority=fields.priority,
        idempotency_key=fields.idempotency_key,
        webhook_url=fields.webhook_url,
        source=fields.upload_id,
    )


async def _so_far(jobs: Jobs, job: Job) -> Transcript:
    gathered = Gathered()
    for part in await jobs.parts(job):
        gathered.add(part)
    return gathered.transcript


async def _texts(jobs: Jobs, job: Job, first: int) -> AsyncGenerator[str, None]:
    async for event in jobs.events(job, first):
        yield event_text(event)


def _last_event(request: Request) -> int:
    """
    Raises:
        InvalidRequest: no event has this id.
    """
    told = request.headers.get("last-event-id", "")
    if not told:
        return 0
    if not told.isdecimal() or len(told) > 9:
        raise InvalidRequest(
            "The Last-Event-ID should be the id of an event of this job, which is a number; leave "
            "it out for all events.",
            param="Last-Event-ID",
        )
    return int(told)


def _has_words(job: Job) -> bool:
    """Whether something was recognised of a job that is not completed."""
    return job.kind in SPOKEN and job.position > 0


def _words_so_far(job: Job) -> str:
    """Where the words of a job are that has no result, if it has any."""
    if not _has_words(job):
        return ""
    return (
        " 'partial=true' gives what it had recognised, in any format, and the 'text' of "
        f"/v1/jobs/{job.id} is that as well."
    )


def _no_result(job: Job) -> str:
    match job.status:
        case Status.FAILED:
            assert job.error, "a job that failed has an error"
            return f"The job failed: {job.error.message}{_words_so_far(job)}"
        case Status.CANCELLED:
            return f"The job was cancelled.{_words_so_far(job)}"
        case _:
            return (
                "The job is not done; GET it to see how far it has come, or watch its events. "
                "'partial=true' gives what is recognised by now, if anything is."
            )
