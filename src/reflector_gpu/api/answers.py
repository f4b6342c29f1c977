"""From a validated request to its answer: one recording or several, whole or streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing
from itertools import count
from typing import Literal, TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from reflector_gpu.api.connection import cancelled
from reflector_gpu.api.errors import error_body, error_detail
from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.api.render import openai, reflector, subtitles, warned
from reflector_gpu.api.render.formats import MEDIA_TYPES, Format
from reflector_gpu.api.render.logprobs import logprobs
from reflector_gpu.api.render.schemas import ReflectorFile, StreamEvent
from reflector_gpu.api.upload import Upload
from reflector_gpu.errors import ReflectorError
from reflector_gpu.pipeline.transcribe import Gathered, Part, collect
from reflector_gpu.pipeline.translate import in_translation
from reflector_gpu.types import Segment, Transcript, WordSpaces

T = TypeVar("T")
B = TypeVar("B", bound=BaseModel)

JSON = "application/json"

Parts = AsyncGenerator[Part, None]

PATIENCE_SECONDS = 20.0

_QUICK_SECONDS = 60.0  # of audio; a thread would take longer than to render so little

_TOGETHER = 16  # files of one request that are worked on at the same time


def rendered(
    transcript: Transcript,
    fields: TranscriptionFields,
    spaces: WordSpaces,
    offset: float = 0.0,
) -> BaseModel | str:
    """``transcript`` in the format that was asked for; a model or plain text."""
    match fields.response_format:
        case Format.TEXT:
            return openai.text(in_translation(transcript))
        case Format.SRT:
            return subtitles.srt(in_translation(transcript), offset=offset)
        case Format.VTT:
            return subtitles.vtt(in_translation(transcript), offset=offset)
        case Format.VERBOSE_JSON:
            granularities = fields.timestamp_granularities
            return openai.verbose_json(transcript, granularities, offset=offset, spaces=spaces)
        case Format.DIARIZED_JSON:
            return openai.diarized_json(transcript, offset=offset)
        case Format.JSON:
            return _scored(openai.json(transcript), transcript.segments, fields)
        case None:
            found = reflector.transcript(transcript, offset=offset, spaces=spaces)
            return _scored(found, transcript.segments, fields)


def rendered_file(
    transcript: Transcript, filename: str, fields: TranscriptionFields, spaces: WordSpaces
) -> BaseModel | str:
    """`rendered`, of an uploaded file: where no format was asked for, its name is told."""
    if fields.response_format is not None:
        return rendered(transcript, fields, spaces)
    file = reflector.file(transcript, filename, spaces=spaces)
    return _scored(file, transcript.segments, fields)


def _scored(
    body: B, segments: Sequence[Segment], fields: TranscriptionFields, *, follow: bool = False
) -> B:
    """``body``, which holds the text of ``segments``, with its logprobs if they are wanted."""
    if not fields.wants_logprobs:
        return body
    return body.model_copy(update={"logprobs": logprobs(segments, follow=follow)})


def response(body: BaseModel | str, form: Format | None) -> Response:
    if isinstance(body, BaseModel):
        return Response(body.model_dump_json(exclude_none=True), media_type=JSON)
    return Response(body, media_type=MEDIA_TYPES[form or Format.TEXT])


async def one_file(
    upload: Upload, fields: TranscriptionFields, parts: Parts, spaces: WordSpaces
) -> Response:
    def render(transcript: Transcript) -> BaseModel | str:
        return rendered_file(transcript, upload.filename, fields, spaces)

    return await answer(parts, render, fields.response_format)


async def from_url(
    parts: Parts, fields: TranscriptionFields, offset: float, spaces: WordSpaces
) -> Response:
    return await answer(
        parts, lambda t: rendered(t, fields, spaces, offset), fields.response_format, offset
    )


async def translation(parts: Parts, fields: TranscriptionFields, spaces: WordSpaces) -> Response:
    """OpenAI's translation answers, which differ a little from its transcriptions."""

    def render(transcript: Transcript) -> BaseModel | str:
        match fields.response_format:
            case Format.VERBOSE_JSON:
                return openai.verbose_translation(transcript)
            case Format.JSON:
                return openai.translation(transcript)
            case _:
                return rendered(transcript, fields, spaces)

    return await answer(parts, render, fields.response_format)


async def answer(
    parts: Parts,
    render: Callable[[Transcript], BaseModel | str],
    form: Format | None = None,
    offset: float = 0.0,
) -> Response:
    """The finished transcript as ``render`` writes it."""
    transcript = await _whole(parts)
    if transcript.duration <= _QUICK_SECONDS:
        found = response(render(transcript), form)
    else:  # an hour of words takes long enough to render that others would notice
        found = await asyncio.to_thread(lambda: response(render(transcript), form))
    found.headers.update(warned.headers(transcript, offset))
    return found


async def several_files(
    uploads: Sequence[Upload],
    fields: TranscriptionFields,
    start: Callable[[Upload], Parts],
    spaces: WordSpaces,
) -> Response:
    """``{"results": [...]}`` in the order sent; a file that fails carries its ``error``."""
    together = _TOGETHER if fields.batch is not False else 1
    places = asyncio.Semaphore(together)

    async def entry(upload: Upload) -> str:
        async with places:
            return await _entry(upload, fields, start, spaces)

    entries = await _all([entry(upload) for upload in uploads])
    return Response(f'{{"results":[{",".join(entries)}]}}', media_type=JSON)


async def _entry(
    upload: Upload,
    fields: TranscriptionFields,
    start: Callable[[Upload], Parts],
    spaces: WordSpaces,
) -> str:
    try:
        transcript = await _whole(start(upload))
    except ReflectorError as error:
        detail = error_detail(error).model_dump()
        return json.dumps({"filename": upload.filename, "error": detail})
    finally:
        upload.spool.close()
    return await asyncio.to_thread(_rendered_entry, transcript, upload.filename, fields, spaces)


def _rendered_entry(
    transcript: Transcript, filename: str, fields: TranscriptionFields, spaces: WordSpaces
) -> str:
    body = rendered_file(transcript, filename, fields, spaces)
    if isinstance(body, ReflectorFile):
        return body.model_dump_json(exclude_none=True)
    if isinstance(body, str):
        return json.dumps({"filename": filename, "text": body}, ensure_ascii=False)
    dumped = body.model_dump(exclude_none=True, mode="json")
    return json.dumps({"filename": filename, **dumped}, ensure_ascii=False)


async def events(
    parts: Parts, fields: TranscriptionFields, offset: float = 0.0
) -> AsyncIterator[str]:
    """The server-sent events of one recording; a failure midway is an event as well."""
    form = fields.response_format
    if form is Format.SRT or form is Format.VTT:
        found = _subtitle_events(parts, fields, form, offset)
    else:
        found = _text_events(parts, fields, offset)
    try:
        async with aclosing(found):
            async for event in found:
                yield openai.server_sent(event)
    except ReflectorError as error:
        yield f"data: {error_body(error).model_dump_json()}\n\n"
    yield openai.STREAM_END


async def _subtitle_events(
    parts: Parts, fields: TranscriptionFields, form: Literal[Format.SRT, Format.VTT], offset: float
) -> AsyncGenerator[StreamEvent, None]:
    """Pieces of the file, one a cue, and then the whole of it.

    Names of speakers and translations are known only in the end; so is such a file.
    """
    gathered = Gathered()
    early = fields.speakers is None and not fields.translate_to
    stream = subtitles.SubtitleStream(form, offset)
    sent = 0
    async with aclosing(parts):
        async for part in parts:
            gathered.add(part)
            settled = stream.add(part.segments) if early else []
            if early and part.duration is not None:
                settled += stream.end(part.duration)
            for cue, piece in settled:
                sent += len(piece)
                yield openai.file_delta(piece, cue.start / 1000, cue.end / 1000)
    transcript = gathered.transcript
    write = subtitles.srt if form is Format.SRT else subtitles.vtt
    file = await asyncio.to_thread(lambda: write(in_translation(transcript), offset=offset))
    if rest := file[sent:]:
        yield openai.file_delta(rest, offset, transcript.duration + offset)
    yield openai.done(transcript, offset=offset).model_copy(update={"text": file})


async def _text_events(
    parts: Parts, fields: TranscriptionFields, offset: float
) -> AsyncGenerator[StreamEvent, None]:
    gathered = Gathered()
    told_apart = fields.speakers is not None
    make = openai.delta
    numbers = count()
    async with aclosing(parts):
        async for part in parts:
            for segment in part.segments:
                name = openai.segment_id(next(numbers)) if told_apart else None
                event = make(segment, offset=offset, segment_id=name)
                yield _scored(event, [segment], fields, follow=make is openai.next_delta)
                make = openai.next_delta
            if told_apart and part.attributed:
                for spoken in openai.segment_events(part.attributed, offset=offset):
                    yield spoken
            gathered.add(part)
    transcript = gathered.transcript
    yield _scored(openai.done(transcript, offset=offset), transcript.segments, fields)


async def primed(
    parts: AsyncGenerator[T, None], resources: AsyncExitStack
) -> AsyncGenerator[T, None]:
    """``parts``, held back until the first is there or `PATIENCE_SECONDS` have passed.

    A stream's status is sent before its first event: what fails early can still fail by status.
    ``resources`` ends the work if nobody reads what is returned.
    """
    first = asyncio.ensure_future(anext(parts))
    resources.push_async_callback(parts.aclose)
    resources.push_async_callback(cancelled, first)
    await asyncio.wait({first}, timeout=PATIENCE_SECONDS)
    if first.done():
        first.result()
    return _chained(first, parts)


async def _chained(
    first: asyncio.Future[T], parts: AsyncGenerator[T, None]
) -> AsyncGenerator[T, None]:
    yield await first
    async for part in parts:
        yield part


async def _whole(parts: Parts) -> Transcript:
    async with aclosing(parts):
        return await collect(parts)


async def _all(work: Sequence[Coroutine[None, None, str]]) -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]
