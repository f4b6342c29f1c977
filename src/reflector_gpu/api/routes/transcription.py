"""Transcription: the routes of OpenAI, and those of Reflector."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, responses, route_fields
from reflector_gpu.api.bodies import MAX_JSON_BYTES
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import Direct, intake_of
from reflector_gpu.api.intake import single
from reflector_gpu.api.upload import Upload
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.formats import reflector
from reflector_gpu.formats.response_format import Format
from reflector_gpu.types import Priority

router = APIRouter(tags=["transcription"], route_class=Direct)


@router.post("/v1/audio/transcriptions", openapi_extra=openapi.transcriptions)
async def create_transcription(request: Request) -> Response:
    """Transcribe one uploaded file, or several.

    OpenAI's request and answers. Without `response_format` the answer has the form that
    Reflector reads: `text` and `words`; with several files it is `{"results": [...]}`.
    """
    intake = intake_of(request)
    async with intake.admit(request, Priority.LIVE) as context:
        form = await intake.form(context)
        fields = intake.form_fields(request, route_fields.TRANSCRIPTIONS, form)
        wanted = await intake.transcription_request(context, fields, "transcribe")
        renderer = intake.renderer(fields)

        def start(upload: Upload) -> responses.Parts:
            return context.parts(upload.spool, wanted)

        if len(form.files) > 1:
            if fields.stream:
                raise InvalidRequest("Only a single file can be streamed.", param="stream")
            several = responses.of_files(form.files, renderer, start)
            return await unless_disconnected(request, several)
        upload = form.files[0]
        if fields.stream:
            return await context.streamed(responses.transcript_events(start(upload), renderer))
        render = partial(renderer.file, filename=upload.filename)
        work = responses.of_transcript(start(upload), render, renderer.format)
        return await unless_disconnected(request, work)


@router.post("/v1/audio/translations", openapi_extra=openapi.translations)
async def create_translation(request: Request) -> Response:
    """Turn speech into English text.

    The speech may be in any language that the model knows.
    """
    intake = intake_of(request)
    async with intake.admit(request, Priority.LIVE) as context:
        form = await intake.form(context)
        fields = intake.form_fields(request, route_fields.TRANSLATIONS, form)
        if fields.response_format is None:
            fields = fields.model_copy(update={"response_format": Format.JSON})
        wanted = await intake.transcription_request(context, fields, "translate")
        parts = context.parts(single(form).spool, wanted)
        renderer = intake.renderer(fields)
        work = responses.of_transcript(parts, renderer.translation, renderer.format)
        return await unless_disconnected(request, work)


@router.post("/v1/audio/transcriptions-from-url", openapi_extra=openapi.from_url)
async def create_transcription_from_url(request: Request) -> Response:
    """Transcribe a recording of any length that the server fetches itself.

    Recognition begins while the download runs. `timestamp_offset` is added to every time.
    """
    intake = intake_of(request)
    async with intake.admit(request, Priority.FILE) as context:
        fields = await intake.json_fields(context, route_fields.FROM_URL, MAX_JSON_BYTES)
        wanted = await intake.transcription_request(context, fields, "transcribe")
        spool = await context.download(fields.audio_file_url)
        parts = context.parts(spool, wanted, "audio_file_url")
        renderer = intake.renderer(fields, fields.timestamp_offset)
        if fields.stream:
            return await context.streamed(responses.transcript_events(parts, renderer))
        work = responses.of_transcript(parts, renderer.body, renderer.format, renderer.offset)
        return await unless_disconnected(request, work)


@router.post("/transcribe", openapi_extra=openapi.transcribe)
async def transcribe(request: Request) -> Response:
    """Transcribe one uploaded file for Reflector. Words have `text` instead of `word`."""
    intake = intake_of(request)
    async with intake.admit(request, Priority.LIVE) as context:
        form = await intake.form(context)
        fields = intake.form_fields(request, route_fields.TRANSCRIBE, form)
        wanted = await intake.transcription_request(context, fields, "transcribe")
        parts = context.parts(single(form).spool, wanted)
        render = partial(reflector.transcribe, spaces=intake.word_spaces)
        return await unless_disconnected(request, responses.of_transcript(parts, render))
