"""Batches: the lines of a file as requests to this server's own routes, a few at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import httpx
from pydantic import JsonValue
from pydantic_core import from_json, to_json
from starlette.types import ASGIApp, Receive, Scope, Send

from reflector_gpu.api.access import INTERNAL
from reflector_gpu.api.batch_lines import Line, lines_of
from reflector_gpu.api.job_fields import ResultFields
from reflector_gpu.api.job_kinds import Rendered
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, ShuttingDown
from reflector_gpu.formats.audio_warnings import WARNINGS_HEADER
from reflector_gpu.jobs.batch_answers import Answer
from reflector_gpu.jobs.job import Job, Options
from reflector_gpu.jobs.journal import Journal
from reflector_gpu.jobs.owners import Owners

KIND = "batch"

ENDPOINTS = (
    "/v1/audio/transcriptions",
    "/v1/audio/transcriptions-from-url",
    "/v1/audio/translations",
    "/v1/chat/completions",
)

_UPLOADED, _FROM_URL = ENDPOINTS[:2]
_AT_ONCE = 2  # requests of one batch
_TRIES = 6  # of a line for which an engine is not there, or fails
_BUSY, _UNAVAILABLE = 429, 503
_LONGEST_WAIT = 60.0
_PIECE = 65_536  # bytes of a request's body

Numbered = Iterator[tuple[int, Line]]


class BatchKind:
    """Works on batches. ``app`` is this server's own application, set once that is made."""

    def __init__(self, owners: Owners | None) -> None:
        """``owners`` knows whose batches may go on."""
        self.app: ASGIApp | None = None
        self._owners = owners

    async def check(self, options: Options) -> None:
        """Lines are checked when a batch is made."""

    async def run(self, job: Job, recording: Spool, journal: Journal) -> bytes:
        known = await journal.answered()
        lines = enumerate(lines_of(recording.reader().read, str(job.options["endpoint"])))
        reading = asyncio.Lock()

        async def work() -> None:
            while True:
                async with reading:
                    found = await asyncio.to_thread(_next_unknown, lines, known)
                if found is None:
                    return
                number, line = found
                answer = await self._answer(job, number, line)
                await journal.answer(answer)

        journal.expect(int(str(job.options["lines"])))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as failures:  # the runner knows what to do about the first of them
            raise failures.exceptions[0] from None
        return b""

    def render(self, job: Job, result: bytes, asked: ResultFields) -> Rendered:
        raise InvalidRequest("The results of a batch are in its output file.")

    async def _answer(self, job: Job, number: int, line: Line) -> Answer:
        if self._owners:
            self._owners.check_key(job.owner)
            self._owners.check_quota(job.owner)
        answer = await self._ask(job.owner, line)
        told = await asyncio.to_thread(_told, f"{job.id}-{number}", line, answer)
        return Answer(number, answer.is_error, told)

    async def _ask(self, owner: str, line: Line) -> httpx.Response:
        """What the route answers to ``line``, which waits for a place as long as that takes."""
        transport = httpx.ASGITransport(_as_owner(self.app, owner), raise_app_exceptions=False)
        by_url = line.url == _UPLOADED and "audio_file_url" in line.body
        url = _FROM_URL if by_url else line.url
        body = await asyncio.to_thread(to_json, line.body)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        async with httpx.AsyncClient(
            transport=transport,
            base_url="http://batch",
            timeout=None,  # noqa: S113  the server's
        ) as client:
            failures = 0
            while True:
                answer = await client.post(url, content=_pieces(body), headers=headers)
                failures += answer.status_code == _UNAVAILABLE
                if answer.status_code not in (_BUSY, _UNAVAILABLE) or failures == _TRIES:
                    return answer
                wait = float(answer.headers.get("retry-after", 1))
                await asyncio.sleep(min(wait, _LONGEST_WAIT))


def _next_unknown(lines: Numbered, known: set[int]) -> tuple[int, Line] | None:
    return next((found for found in lines if found[0] not in known), None)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(body), _PIECE):
        yield body[begin : begin + _PIECE]
        await asyncio.sleep(0)  # a long body must not keep others waiting


def _told(request_id: str, line: Line, answer: httpx.Response) -> str:
    try:
        body: JsonValue = from_json(answer.content)
    except ValueError:
        body = answer.content.decode(errors="replace")
    response = {"status_code": answer.status_code, "request_id": request_id, "body": body}
    if warnings := answer.headers.get(WARNINGS_HEADER):
        response["warnings"] = from_json(warnings)
    error = body.get("error") if answer.is_error and isinstance(body, dict) else None
    whole = {"id": request_id, "custom_id": line.custom_id, "response": response, "error": error}
    return json.dumps(whole, ensure_ascii=False)


def _as_owner(app: ASGIApp | None, owner: str) -> ASGIApp:
    """``app`` for requests of our own, which need no key."""
    if app is None:
        raise ShuttingDown("The server is not ready.")

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope[INTERNAL] = owner
        await app(scope, receive, send)

    return inner
