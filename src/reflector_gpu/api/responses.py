"""Transcripts as HTTP responses: of one recording or several, whole or as events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from itertools import count
from typing import Literal

from pydantic import BaseModel
from starlette.responses import Response

from reflector_gpu.api.errors import error_detail
from reflector_gpu.api.transcript_renderer import TranscriptRenderer
from reflector_gpu.api.upload import Upload
from reflector_gpu.errors import ReflectorError
from reflector_gpu.formats import audio_warnings, openai, subtitles
from reflector_gpu.formats.response_format import MEDIA_TYPES, Format
from reflector_gpu.formats.schemas import ReflectorFile
from reflector_gpu.pipeline.transcription import Gathered, Part, collect
from reflector_gpu.pipeline.translation import in_translation
from reflector_gpu.stages import stage
from reflector_gpu.types import Transcript

JSON = "application/json"

Parts = AsyncGenerator[Part, None]

_QUICK_SECONDS = 60.0  # of audio; starting a thread takes longer than rendering so little

_TOGETHER = 16  # files of a request that are worked on at the same time


def of_body(body: BaseModel | str, response_format: Format | None = None) -> Response:
    """``body`` as JSON, or as the text that ``response_format`` names."""
    if isinstance(body, BaseModel):
        return Response(body.model_dump_json(exclude_none=True), media_type=JSON)
    return Response(body, media_type=MEDIA_TYPES[response_format or Format.TEXT])


async def of_transcript(
    parts: Parts,
    render: Callable[[Transcript], BaseModel | str],
    response_format: Format | None = None,
    offset: float = 0.0,
) -> Response:
    """The whole transcript as ``render`` writes it."""
    transcript = await _whole(parts)
    with stage("render"):
        if transcript.duration <= _QUICK_SECONDS:
            found = of_body(render(transcript), response_format)
        else:  # in a thread, because rendering an hour of words would delay other requests
            found = await asyncio.to_thread(lambda: of_body(render(transcript), response_format))
    found.headers.update(audio_warnings.headers(audio_warnings.of_transcript(transcript, offset)))
    return found


async def of_files(
    uploads: Sequence[Upload], renderer: TranscriptRenderer, start: Callable[[Upload], Parts]
) -> Response:
    """``{"results": [...]}`` in the order of ``uploads``. A file that fails has an ``error``."""
    together = _TOGETHER if renderer.fields.batch is not False else 1
    places = asyncio.Semaphore(together)

    async def entry(upload: Upload) -> str:
        async with places:
            return await _entry(upload, renderer, start)

    entries = await _all([entry(upload) for upload in uploads])
    return Response(f'{{"results":[{",".join(entries)}]}}', media_type=JSON)


async def _entry(
    upload: Upload, renderer: TranscriptRenderer, start: Callable[[Upload], Parts]
) -> str:
    try:
        transcript = await _whole(start(upload))
    except ReflectorError as error:
        detail = error_detail(error).model_dump()
        return json.dumps({"filename": upload.filename, "error": detail})
    finally:
        upload.spool.close()
    with stage("render"):
        return await asyncio.to_thread(_rendered_entry, transcript, upload.filename, renderer)


def _rendered_entry(transcript: Transcript, filename: str, renderer: TranscriptRenderer) -> str:
    body = renderer.file(transcript, filename)
    if isinstance(body, ReflectorFile):
        return body.model_dump_json(exclude_none=True)
    entry: dict[str, object] = {"filename": filename}
    entry |= {"text": body} if isinstance(body, str) else _dumped(body)
    if warnings := audio_warnings.of_transcript(transcript):  # a header would not say whose
        entry["warnings"] = _dumped(warnings)
    return json.dumps(entry, ensure_ascii=False)


def _dumped(body: BaseModel) -> dict[str, object]:
    return body.model_dump(exclude_none=True, mode="json")


def transcript_events(parts: Parts, renderer: TranscriptRenderer) -> AsyncGenerator[str, None]:
    """The server-sent events of one recording."""
    response_format = renderer.format
    if response_format is Format.SRT or response_format is Format.VTT:
        return _subtitle_events(parts, renderer, response_format)
    return _text_events(parts, renderer)


async def _subtitle_events(
    parts: Parts, renderer: TranscriptRenderer, response_format: Literal[Format.SRT, Format.VTT]
) -> AsyncGenerator[str, None]:
    """An event for each cue of the file, and one with all of it.

    Speakers and translations are known only at the end. A file with them comes as one piece.
    """
    gathered = Gathered()
    early = not renderer.fields.tells_speakers and not renderer.fields.translate_to
    offset = renderer.offset
    stream = subtitles.SubtitleStream(response_format, offset)
    sent = 0
    async with aclosing(parts):
        async for part in parts:
            gathered.add(part)
            settled = stream.add(part.segments) if early else []
            if early and part.duration is not None:
                settled += stream.end(part.duration)
            for cue, piece in settled:
                sent += len(piece)
                yield openai.server_sent(openai.file_delta(piece, cue.start / 1000, cue.end / 1000))
    transcript = gathered.transcript
    write = subtitles.srt if response_format is Format.SRT else subtitles.vtt
    file = await asyncio.to_thread(lambda: write(in_translation(transcript), offset=offset))
    if rest := file[sent:]:
        yield openai.server_sent(openai.file_delta(rest, offset, transcript.duration + offset))
    yield openai.server_sent(
        openai.done(transcript, offset=offset).model_copy(update={"text": file})
    )


async def _text_events(parts: Parts, renderer: TranscriptRenderer) -> AsyncGenerator[str, None]:
    gathered = Gathered()
    told_apart, offset = renderer.fields.tells_speakers, renderer.offset
    make = openai.delta
    numbers = count()
    async with aclosing(parts):
        async for part in parts:
            for segment in part.segments:
                name = openai.segment_id(next(numbers)) if told_apart else None
                event = make(segment, offset=offset, segment_id=name)
                yield openai.server_sent(
                    renderer.scored(event, [segment], follow=make is openai.next_delta)
                )
                make = openai.next_delta
            if told_apart and part.attributed:
                for spoken in openai.segment_events(part.attributed, offset=offset):
                    yield openai.server_sent(spoken)
            gathered.add(part)
    transcript = gathered.transcript
    yield openai.server_sent(
        renderer.scored(openai.done(transcript, offset=offset), transcript.segments)
    )


async def _whole(parts: Parts) -> Transcript:
    async with aclosing(parts):
        return await collect(parts)


async def _all(work: Sequence[Coroutine[None, None, str]]) -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]
