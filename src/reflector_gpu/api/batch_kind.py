"""Batches: the lines of a file as requests to this server's own routes, one after the other."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx
from pydantic import JsonValue, TypeAdapter
from pydantic_core import from_json
from starlette.types import ASGIApp, Receive, Scope, Send

from reflector_gpu.api.access import INTERNAL
from reflector_gpu.api.job_fields import ResultFields
from reflector_gpu.api.job_kinds import Rendered
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, ShuttingDown
from reflector_gpu.jobs.job import Job, Options
from reflector_gpu.jobs.journal import Journal
from reflector_gpu.jobs.records import Record

KIND = "batch"

ENDPOINTS = (
    "/v1/audio/transcriptions",
    "/v1/audio/transcriptions-from-url",
    "/v1/audio/translations",
    "/v1/chat/completions",
)

_UPLOADED, _FROM_URL = ENDPOINTS[:2]
_MOST_LINES = 50_000
_AT_ONCE = 2  # requests of one batch
_TRIES = 6
_BUSY = (429, 503)
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Line:
    """A request of a batch."""

    custom_id: str
    url: str
    body: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of all lines, in order: JSON for the output file, or for the file of errors."""

    succeeded: tuple[str, ...]
    failed: tuple[str, ...]


ANSWERS = Record(Answers)
_ANSWER: TypeAdapter[tuple[int, str]] = TypeAdapter(tuple[int, str])


def lines_of(content: bytes, endpoint: str) -> list[Line]:
    """The requests in a file.

    Raises:
        InvalidRequest: a line is not one to ``endpoint``.
    """
    found = list(_lines(content, endpoint))
    if not 0 < len(found) <= _MOST_LINES:
        raise InvalidRequest(
            f"A batch has 1 to {_MOST_LINES} lines; this has {len(found)}.", param="input_file_id"
        )
    if len({line.custom_id for line in found}) < len(found):
        raise InvalidRequest("Two lines have the same custom_id.", param="input_file_id")
    return found


def _lines(content: bytes, endpoint: str) -> Iterator[Line]:
    for number, text in enumerate(content.splitlines(), 1):
        if not text.strip():
            continue
        try:
            sent = from_json(text, allow_inf_nan=False)
            custom_id, url, body = sent["custom_id"], sent["url"], sent["body"]
        except (ValueError, LookupError, TypeError):
            sent, custom_id, url, body = {}, None, None, None
        if not isinstance(custom_id, str) or not isinstance(body, dict) or url != endpoint:
            raise InvalidRequest(
                f'Line {number} should be {{"custom_id": "...", "method": "POST", '
                f'"url": "{endpoint}", "body": {{...}}}}.',
                param="input_file_id",
            )
        if sent.get("method", "POST") != "POST" or body.get("stream"):
            raise InvalidRequest(
                f"Line {number}: the method is POST, and nothing is streamed.",
                param="input_file_id",
            )
        yield Line(custom_id, url, body)


class BatchKind:
    """Works on batches. ``app`` is this server's own application, set once that is made."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def check(self, options: Options) -> None:
        """Lines are checked when a batch is made."""

    async def run(self, job: Job, recording: Spool, journal: Journal) -> bytes:
        content = await asyncio.to_thread(recording.reader().peek, 0, recording.size)
        lines = await asyncio.to_thread(lines_of, content, str(job.options["endpoint"]))
        places = asyncio.Semaphore(_AT_ONCE)
        done = 0

        async def answer(line: Line) -> tuple[int, str]:
            nonlocal done
            async with places:
                found = await self._answer(job, line, journal)
            done += 1
            await journal.passed(done, len(lines))
            return found

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(answer(line)) for line in lines]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the runner knows what to do about it
        return await asyncio.to_thread(_packed, job, lines, [task.result() for task in tasks])

    def render(self, job: Job, result: bytes, asked: ResultFields) -> Rendered:
        raise InvalidRequest("The results of a batch are in its output file.")

    async def _answer(self, job: Job, line: Line, journal: Journal) -> tuple[int, str]:
        """The status and the body, from memory if the line was done before."""
        digest = hashlib.blake2b(line.custom_id.encode(), digest_size=16).hexdigest()
        if (known := await journal.noted(digest)) is not None:
            return _ANSWER.validate_json(known)
        found = await self._ask(job.owner, line)
        await journal.note(digest, _ANSWER.dump_json(found))
        return found

    async def _ask(self, owner: str, line: Line) -> tuple[int, str]:
        transport = httpx.ASGITransport(_as_owner(self.app, owner), raise_app_exceptions=False)
        by_url = line.url == _UPLOADED and "audio_file_url" in line.body
        url = _FROM_URL if by_url else line.url
        async with httpx.AsyncClient(
            transport=transport,
            base_url="http://batch",
            timeout=None,  # noqa: S113  the server's
        ) as client:
            for left in reversed(range(_TRIES)):
                answer = await client.post(url, json=line.body)
                if answer.status_code not in _BUSY or not left:
                    break
                wait = float(answer.headers.get("retry-after", 1))
                await asyncio.sleep(min(wait, _LONGEST_WAIT))
        return answer.status_code, answer.text


def _packed(job: Job, lines: Sequence[Line], answers: Sequence[tuple[int, str]]) -> bytes:
    succeeded: list[str] = []
    failed: list[str] = []
    for number, (line, (status, body)) in enumerate(zip(lines, answers, strict=True)):
        told = _told(f"{job.id}-{number}", line, status, body)
        (succeeded if status < 400 else failed).append(told)
    return ANSWERS.pack(Answers(tuple(succeeded), tuple(failed)))


def _told(request_id: str, line: Line, status: int, text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    response = {"status_code": status, "request_id": request_id, "body": body}
    error = body.get("error") if status >= 400 and isinstance(body, dict) else None
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
