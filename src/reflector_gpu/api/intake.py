"""Admits requests, and reads and checks what they say."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel

from reflector_gpu.api import accepted_fields, wanted
from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.api.access import INTERNAL
from reflector_gpu.api.bodies import read_json, read_raw
from reflector_gpu.api.connection import Deadline, body_of, read_body, unless_disconnected
from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.api.form_values import form_values, json_values
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.request_context import RequestContext
from reflector_gpu.api.request_record import record_of
from reflector_gpu.api.transcript_renderer import TranscriptRenderer
from reflector_gpu.api.upload import FILE_FIELDS, Form, Upload, read_form
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.service import Service, TranscriptionRequest
from reflector_gpu.service.parameters import explained
from reflector_gpu.types import Priority, Task, WordSpaces
from reflector_gpu.unknown_fields import UnknownField, check_spelling, printable

M = TypeVar("M", bound=BaseModel)

_AT_ONCE = 0.005  # seconds; a request that waited longer had its model loaded

_RECORDINGS = ("application/octet-stream", "application/ogg")
"""Content types of a recording, besides all of audio/* and video/*."""


class Intake:
    """Admits the requests of one application, and reads them."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    @asynccontextmanager
    async def admit(self, request: Request, priority: Priority) -> AsyncIterator[RequestContext]:
        """Hold a place for the request until it is answered or its time is over.

        Raises:
            InvalidRequest, Overloaded, DeadlineExceeded
        """
        service = self._service
        if INTERNAL in request.scope:
            priority = Priority.FILE  # nobody waits for it
        deadline = Deadline(request, service.settings.request_seconds)
        client: str = getattr(request.state, "client", "")
        async with deadline.kept(), AsyncExitStack() as resources:
            permit = resources.enter_context(service.admission.permit(priority, client))
            yield RequestContext(
                request, priority, deadline, permit, resources, service, self._metrics
            )

    async def form(
        self,
        context: RequestContext,
        *,
        file_fields: Sequence[str] = FILE_FIELDS,
        spool: Callable[[], Spool] | None = None,
        required: bool = True,
    ) -> Form:
        """Read what was uploaded: a form, a recording, or JSON with one.

        Its files are kept until the request has been answered. If ``required``, there is at least
        one.

        Raises:
            InvalidRequest: it is none of these, or has no file.
            ClientTooSlow, TooLarge
        """
        patience = self._service.settings.body_seconds
        async with aclosing(body_of(context.request, patience, context.permit)) as body:
            form = await self._read(context.request, body, file_fields, spool)
        context.resources.enter_context(form)
        if required and not form.files:
            name = file_fields[0]
            raise InvalidRequest(f"The request has no file; send it as '{name}'.", param=name)
        return form

    async def _read(
        self,
        request: Request,
        body: AsyncIterator[bytes],
        file_fields: Sequence[str],
        spool: Callable[[], Spool] | None,
    ) -> Form:
        settings = self._service.settings
        spool = spool or self._service.recordings.spool
        content_type = request.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "application/json":
            return await read_json(body, spool)
        if kind in _RECORDINGS or kind.startswith(("audio/", "video/")):
            return await read_raw(body, spool)
        return await read_form(
            content_type,
            body,
            spool=spool,
            max_bytes=settings.max_upload_bytes,
            max_files=settings.max_files,
            file_fields=file_fields,
        )

    def form_fields(
        self, request: Request, accepted: AcceptedFields[M], form: Form | None = None
    ) -> M:
        """The fields in the query and in the ``form``, which wins where both have a field.

        Raises:
            InvalidRequest: as `fields`.
        """
        pairs = [*request.query_params.multi_items(), *(form.fields if form else ())]
        values = form_values(pairs, accepted.model) | (form.values if form else {})
        return self.fields(request, accepted, values)

    async def json_fields(
        self, context: RequestContext, accepted: AcceptedFields[M], max_bytes: int
    ) -> M:
        """The fields of a body that is JSON.

        Raises:
            InvalidRequest: it is not JSON, a field is in the query instead, or as `fields`.
            TooLarge, ClientTooSlow
        """
        for name in context.request.query_params:
            if name in accepted.model.model_fields:
                raise InvalidRequest(
                    f"'{name}' is in the query; send it as a field of the JSON body.", param=name
                )
        self.check_query(context.request)
        values = json_values(await self.body(context, max_bytes))
        return self.fields(context.request, accepted, values)

    async def body(self, context: RequestContext, max_bytes: int) -> bytes:
        """A body that is small.

        Raises:
            TooLarge: it is larger than ``max_bytes``.
            ClientTooSlow
        """
        patience = self._service.settings.body_seconds
        return await read_body(context.request, patience, context.permit, max_bytes)

    def fields(
        self, request: Request, accepted: AcceptedFields[M], values: Mapping[str, object]
    ) -> M:
        """Check the fields of a request. The answer and the log name those without an effect.

        Raises:
            InvalidRequest: a name is misspelled or misplaced, a value does not fit, or a field
                has no effect and the server is strict.
        """
        self._ignore(request, accepted.ignored(values))
        used = {name: value for name, value in values.items() if name not in accepted.unused}
        with explained():
            return accepted.model.model_validate(used)

    def check_query(self, request: Request, known: Collection[str] = ()) -> None:
        """Check the names in the query of a request to a route that knows some.

        Raises:
            InvalidRequest: one is misspelled, or has no effect and the server is strict.
        """
        unknown = [name for name in request.query_params if name not in known]
        check_spelling(UnknownField(name, name, known) for name in unknown)
        self._ignore(request, unknown)

    def _ignore(self, request: Request, ignored: Sequence[str]) -> None:
        """Have the answer and the log name the fields that are ``ignored``.

        Raises:
            InvalidRequest: there are some, and the server is strict.
        """
        if not ignored:
            return
        names = accepted_fields.listed(ignored)
        if self._service.settings.strict:
            raise InvalidRequest(
                f"These fields have no effect on this route; leave them out: {names}.",
                param=printable(ignored[0]),
            )
        record = record_of(request.scope)
        told = [record.details["ignored"]] if "ignored" in record.details else []
        named = ",".join(map(str, [*told, names]))
        record.headers[accepted_fields.IGNORED_HEADER] = record.details["ignored"] = named

    async def transcription_request(
        self, context: RequestContext, fields: TranscriptionFields, task: Task
    ) -> TranscriptionRequest:
        """What ``fields`` ask for, once its model is loaded. The body must have been read."""
        model = wanted.model_for(self._service, fields, task)
        context.answered_by(model.name)

        async def when_loaded() -> TranscriptionRequest:
            asked = await wanted.transcription_request(
                self._service, model, fields, task, context.priority, context.owner
            )
            began = time.monotonic()
            await self._service.loaded(asked.model)
            if (took := time.monotonic() - began) > _AT_ONCE:
                context.log("load", f"{took:.3f}s")
            return asked

        return await unless_disconnected(context.request, when_loaded())

    def renderer(self, fields: TranscriptionFields, offset: float = 0.0) -> TranscriptRenderer:
        """What writes the transcript that ``fields`` ask for."""
        return TranscriptRenderer(fields, self.word_spaces, offset)

    @property
    def word_spaces(self) -> WordSpaces:
        """Which side of a word its space is on."""
        return self._service.settings.word_spaces


def single(form: Form) -> Upload:
    """The file of an upload to a route that takes only one."""
    if len(form.files) > 1:
        raise InvalidRequest("This route takes a single file.", param="file")
    return form.files[0]


def announced(request: Request) -> int:
    """Bytes that the client says it will send; 0 if it does not say."""
    told = request.headers.get("content-length", "")
    return int(told) if told.isdecimal() and len(told) < 16 else 0
