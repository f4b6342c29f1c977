"""Speech to text: the OpenAI routes, and those of Reflector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import answers, openapi
from reflector_gpu.api.connection import EventStream, body_of, cancelled, unless_disconnected
from reflector_gpu.api.fields import FromUrl, TranscriptionFields, from_form, from_json_body
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.render import reflector
from reflector_gpu.api.render.formats import Format
from reflector_gpu.api.upload import Form, Upload, read_form
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, ReflectorError, TooLarge
from reflector_gpu.pipeline.transcribe import Part
from reflector_gpu.service import Request as Wish
from reflector_gpu.service import Service
from reflector_gpu.types import Priority, Task

_MAX_JSON_BYTES = 20_000_000  # known speaker references are audio in data URLs


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The transcription routes over ``service``."""
    routes = APIRouter(tags=["transcription"])
    desk = _Desk(service, metrics)

    @routes.post("/v1/audio/transcriptions", openapi_extra=openapi.TRANSCRIPTIONS)
    async def create_transcription(request: Request) -> Response:
        """Transcribe one uploaded file, or several.

        OpenAI's request and answers. Without `response_format` the answer has the form that
        Reflector reads: `text` and `words`; with several files it is `{"results": [...]}`.
        """
        async with AsyncExitStack() as resources:
            form = await desk.form(request, resources)
            fields = from_form(form.fields)
            wish = await desk.wish(request, fields, Priority.LIVE, "transcribe")
            if len(form.files) == 1 and fields.stream:
                parts = desk.parts(form.files[0].spool, wish)
                return await desk.streamed(request, parts, fields, resources)
            if fields.stream:
                raise InvalidRequest("Only a single file can be streamed.", param="stream")
            if len(form.files) == 1:
                upload = form.files[0]
                work = answers.one_file(upload, fields, desk.parts(upload.spool, wish))
            else:

                def start(upload: Upload) -> answers.Parts:
                    return desk.parts(upload.spool, wish)

                work = answers.several_files(form.files, fields, start)
            return await unless_disconnected(request, work)

    @routes.post("/v1/audio/translations", openapi_extra=openapi.TRANSLATIONS)
    async def create_translation(request: Request) -> Response:
        """Turn speech in any language that the model knows into English text."""
        async with AsyncExitStack() as resources:
            form = await desk.form(request, resources)
            fields = from_form((n, v) for n, v in form.fields if n != "language")
            if fields.response_format is None:
                fields = fields.model_copy(update={"response_format": Format.JSON})
            wish = await desk.wish(request, fields, Priority.LIVE, "translate")
            parts = desk.parts(_single(form).spool, wish)
            return await unless_disconnected(request, answers.translation(parts, fields))

    @routes.post("/v1/audio/transcriptions-from-url", openapi_extra=openapi.FROM_URL)
    async def create_transcription_from_url(request: Request) -> Response:
        """Transcribe a recording of any length that the server fetches itself.

        Recognition begins while the download runs. `timestamp_offset` is added to every time.
        """
        async with AsyncExitStack() as resources:
            resources.enter_context(service.admission.permit(Priority.FILE))
            fields = await _json_body(request, service.settings.body_seconds)
            wish = await desk.wish(request, fields, Priority.FILE, "transcribe")
            spool = resources.enter_context(service.spool())
            parts = desk.fetched(fields.audio_file_url, spool, wish, resources)
            offset = fields.timestamp_offset
            if fields.stream:
                return await desk.streamed(request, parts, fields, resources, offset)
            return await unless_disconnected(request, answers.from_url(parts, fields, offset))

    @routes.post("/transcribe", openapi_extra=openapi.TRANSCRIBE)
    async def transcribe(request: Request) -> Response:
        """Transcribe one uploaded file; words carry `text` instead of `word`."""
        async with AsyncExitStack() as resources:
            form = await desk.form(request, resources)
            fields = from_form(form.fields)
            wish = await desk.wish(request, fields, Priority.LIVE, "transcribe")
            parts = desk.parts(_single(form).spool, wish)
            return await unless_disconnected(request, answers.answer(parts, reflector.transcribe))

    return routes


class _Desk:
    """What the routes share: taking a request in, and starting the work on it."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    async def form(self, request: Request, resources: AsyncExitStack) -> Form:
        """Take a permit, then read the form; ``resources`` gives both back.

        Raises:
            InvalidRequest: not a form, or no file in it.
            Overloaded, TooLarge
        """
        resources.enter_context(self._service.admission.permit(Priority.LIVE))
        settings = self._service.settings
        form = await read_form(
            request.headers.get("content-type", ""),
            body_of(request, settings.body_seconds),
            spool=self._service.spool,
            max_bytes=settings.max_upload_bytes,
            max_files=settings.max_files,
        )
        resources.enter_context(form)
        if not form.files:
            raise InvalidRequest("The request has no file; send it as 'file'.", param="file")
        return form

    async def wish(
        self, request: Request, fields: TranscriptionFields, priority: Priority, task: Task
    ) -> Wish:
        """What is asked for, checked, and its model loaded. The body must have been read."""
        wish = self._service.request(
            fields.model,
            fields.options(task),
            priority=priority,
            vad=fields.vad(self._service.vad),
        )
        await unless_disconnected(request, self._service.loaded(wish.model))
        return wish

    async def parts(self, spool: Spool, wish: Wish) -> AsyncGenerator[Part, None]:
        """The service's parts, counted."""
        parts = self._service.transcribe(spool, wish)
        try:
            async for part in parts:
                if part.duration is not None:
                    self._metrics.audio(wish.model.name, part.duration)
                yield part
        finally:
            await parts.aclose()

    def fetched(
        self, url: str, spool: Spool, wish: Wish, resources: AsyncExitStack
    ) -> AsyncGenerator[Part, None]:
        """Parts of a recording that is downloaded at the same time."""
        download = asyncio.create_task(self._service.fetcher.fetch(url, spool))
        resources.push_async_callback(cancelled, download)
        return _blaming_the_url(self.parts(spool, wish))

    async def streamed(
        self,
        request: Request,
        parts: AsyncGenerator[Part, None],
        fields: TranscriptionFields,
        resources: AsyncExitStack,
        offset: float = 0.0,
    ) -> EventStream:
        """An answer that takes over ``resources``."""
        ready = await unless_disconnected(request, answers.primed(parts, resources))
        return EventStream(answers.events(ready, fields, offset), resources.pop_all())


async def _blaming_the_url(parts: AsyncGenerator[Part, None]) -> AsyncGenerator[Part, None]:
    """``parts``; what is wrong with the audio is the fault of the field that named it."""
    async with aclosing(parts):
        try:
            async for part in parts:
                yield part
        except ReflectorError as error:
            if error.param == "file":
                error.param = "audio_file_url"
            raise


def _single(form: Form) -> Upload:
    if len(form.files) > 1:
        raise InvalidRequest("This route takes a single file.", param="file")
    return form.files[0]


async def _json_body(request: Request, patience: float) -> FromUrl:
    body = bytearray()
    async for data in body_of(request, patience):
        body += data
        if len(body) > _MAX_JSON_BYTES:
            raise TooLarge(f"The JSON body is larger than {_MAX_JSON_BYTES} bytes.")
    return from_json_body(bytes(body))
