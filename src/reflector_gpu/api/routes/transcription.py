"""Speech to text: the OpenAI routes, and those of Reflector."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, vocabularies
from reflector_gpu.api import responses as answers
from reflector_gpu.api.bodies import MAX_JSON_BYTES
from reflector_gpu.api.connection import read_body, unless_disconnected
from reflector_gpu.api.form_values import json_values
from reflector_gpu.api.intake import Intake, single
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.shape import Shape
from reflector_gpu.api.upload import Upload
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.formats import reflector
from reflector_gpu.formats.response_format import Format
from reflector_gpu.service import Service
from reflector_gpu.types import Priority


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The transcription routes over ``service``."""
    routes = APIRouter(tags=["transcription"])
    intake = Intake(service, metrics)
    spaces = service.settings.word_spaces

    @routes.post("/v1/audio/transcriptions", openapi_extra=openapi.TRANSCRIPTIONS)
    async def create_transcription(request: Request) -> Response:
        """Transcribe one uploaded file, or several.

        OpenAI's request and answers. Without `response_format` the answer has the form that
        Reflector reads: `text` and `words`; with several files it is `{"results": [...]}`.
        """
        async with intake.visit(request, Priority.LIVE) as visit:
            form = await intake.form(visit)
            fields = intake.form_fields(request, vocabularies.TRANSCRIPTIONS, form)
            wish = await intake.wish(visit, fields, "transcribe")
            shape = Shape(fields, spaces)

            def start(upload: Upload) -> answers.Parts:
                return visit.parts(upload.spool, wish)

            if len(form.files) > 1:
                if fields.stream:
                    raise InvalidRequest("Only a single file can be streamed.", param="stream")
                several = answers.several_files(form.files, shape, start)
                return await unless_disconnected(request, several)
            upload = form.files[0]
            if fields.stream:
                return await visit.streamed(start(upload), shape)
            render = partial(shape.file, filename=upload.filename)
            work = answers.answer(start(upload), render, shape.format)
            return await unless_disconnected(request, work)

    @routes.post("/v1/audio/translations", openapi_extra=openapi.TRANSLATIONS)
    async def create_translation(request: Request) -> Response:
        """Turn speech in any language that the model knows into English text."""
        async with intake.visit(request, Priority.LIVE) as visit:
            form = await intake.form(visit)
            fields = intake.form_fields(request, vocabularies.TRANSLATIONS, form)
            if fields.response_format is None:
                fields = fields.model_copy(update={"response_format": Format.JSON})
            wish = await intake.wish(visit, fields, "translate")
            parts = visit.parts(single(form).spool, wish)
            shape = Shape(fields, spaces)
            work = answers.answer(parts, shape.translation, shape.format)
            return await unless_disconnected(request, work)

    @routes.post("/v1/audio/transcriptions-from-url", openapi_extra=openapi.FROM_URL)
    async def create_transcription_from_url(request: Request) -> Response:
        """Transcribe a recording of any length that the server fetches itself.

        Recognition begins while the download runs. `timestamp_offset` is added to every time.
        """
        async with intake.visit(request, Priority.FILE) as visit:
            body = await read_body(request, service.settings.body_seconds, MAX_JSON_BYTES)
            fields = intake.read(request, vocabularies.FROM_URL, json_values(body))
            wish = await intake.wish(visit, fields, "transcribe")
            parts = visit.fetched(fields.audio_file_url, wish)
            shape = Shape(fields, spaces, fields.timestamp_offset)
            if fields.stream:
                return await visit.streamed(parts, shape)
            work = answers.answer(parts, shape.body, shape.format, shape.offset)
            return await unless_disconnected(request, work)

    @routes.post("/transcribe", openapi_extra=openapi.TRANSCRIBE)
    async def transcribe(request: Request) -> Response:
        """Transcribe one uploaded file; words carry `text` instead of `word`."""
        async with intake.visit(request, Priority.LIVE) as visit:
            form = await intake.form(visit)
            fields = intake.form_fields(request, vocabularies.TRANSCRIBE, form)
            wish = await intake.wish(visit, fields, "transcribe")
            parts = visit.parts(single(form).spool, wish)
            render = partial(reflector.transcribe, spaces=spaces)
            return await unless_disconnected(request, answers.answer(parts, render))

    return routes
