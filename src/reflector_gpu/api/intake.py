"""Where requests are let in, and what they hold while they are inside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel

from reflector_gpu.api import responses as answers
from reflector_gpu.api import unknown_fields as unknown
from reflector_gpu.api.bodies import read_json, read_raw
from reflector_gpu.api.connection import (
    Deadline,
    EventStream,
    body_of,
    cancelled,
    unless_disconnected,
)
from reflector_gpu.api.errors import note_failure
from reflector_gpu.api.fields import DiarizeFields, TranscriptionFields
from reflector_gpu.api.form_values import form_values
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.notes import notes_of
from reflector_gpu.api.shape import Shape
from reflector_gpu.api.unknown_fields import Vocabulary
from reflector_gpu.api.upload import FILE_FIELDS, Form, Upload, read_form
from reflector_gpu.audio.guard import URL_FIELD
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.runtime.admission import Permit
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import explained
from reflector_gpu.service.request import TranscriptionRequest
from reflector_gpu.types import Priority, Task

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_AT_ONCE = 0.005  # seconds; a model that takes longer to be there was loaded, or is being

_RECORDINGS = ("application/octet-stream", "application/ogg")
"""Types of bodies that are a recording, besides all of audio and video."""


class Intake:
    """Takes requests in."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    @asynccontextmanager
    async def visit(self, request: Request, priority: Priority) -> AsyncIterator[Visit]:
        """A place for the request, until it is answered or its time is over.

        Raises:
            InvalidRequest, Overloaded, DeadlineExceeded
        """
        service = self._service
        deadline = Deadline(request, service.settings.request_seconds)
        client: str = getattr(request.state, "client", "")
        async with deadline.kept(), AsyncExitStack() as resources:
            permit = resources.enter_context(service.admission.permit(priority, client))
            yield Visit(request, priority, deadline, permit, resources, service, self._metrics)

    async def form(
        self,
        visit: Visit,
        *,
        file_fields: Sequence[str] = FILE_FIELDS,
        spool: Callable[[], Spool] | None = None,
    ) -> Form:
        """Read what was uploaded: a form, a recording, or JSON with one. It ends with the visit.

        Raises:
            InvalidRequest: neither of these, or no file in it.
            ClientTooSlow, TooLarge
        """
        settings = self._service.settings
        spool = spool or self._service.spool
        content_type = visit.request.headers.get("content-type", "")
        body = body_of(visit.request, settings.body_seconds)
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "application/json":
            form = await read_json(body, spool)
        elif kind in _RECORDINGS or kind.startswith(("audio/", "video/")):
            form = await read_raw(body, spool)
        else:
            form = await read_form(
                content_type,
                body,
                spool=spool,
                max_bytes=settings.max_upload_bytes,
                max_files=settings.max_files,
                file_fields=file_fields,
            )
        visit.resources.enter_context(form)
        if not form.files:
            name = file_fields[0]
            raise InvalidRequest(f"The request has no file; send it as '{name}'.", param=name)
        return form

    def form_fields(
        self, request: Request, vocabulary: Vocabulary[M], form: Form | None = None
    ) -> M:
        """The fields in the query and in the ``form``; what both have counts as in the form.

        Raises:
            InvalidRequest: as `read`.
        """
        pairs = [*request.query_params.multi_items(), *(form.fields if form else ())]
        values = form_values(pairs, vocabulary.model) | (form.values if form else {})
        return self.read(request, vocabulary, values)

    def read(self, request: Request, vocabulary: Vocabulary[M], sent: Mapping[str, object]) -> M:
        """The fields of a request, checked. What has no effect is noted for answer and log.

        Raises:
            InvalidRequest: a name is misspelled or misplaced, a value does not fit, or
                something has no effect and the server is told to be strict.
        """
        if ignored := vocabulary.ignored(sent):
            names = unknown.listed(ignored)
            if self._service.settings.strict:
                raise InvalidRequest(
                    f"These fields have no effect on this route; leave them out: {names}.",
                    param=unknown.printable(ignored[0]),
                )
            notes = notes_of(request.scope)
            notes.headers[unknown.HEADER] = notes.details["ignored"] = names
        used = {name: value for name, value in sent.items() if name not in vocabulary.unused}
        with explained():
            return vocabulary.model.model_validate(used)

    async def wish(
        self, visit: Visit, fields: TranscriptionFields, task: Task
    ) -> TranscriptionRequest:
        """What is asked for, checked, and its model loaded. The body must have been read."""
        model = self._service.resolve(fields.model, fields.options(task))
        if fields.wants_logprobs:
            model.check_logprobs()
        visit.answered_by(model.name)
        wish = self._service.request(
            model,
            fields,
            task=task,
            priority=visit.priority,
            vad=fields.vad(self._service.vad),
            streamed=bool(fields.stream),
        )
        if wish.translate_to:
            field = "model" if wish.translated else "translate_to"
            await self._service.translations.check_target(wish.written, wish.translate_to, field)
        if wish.speakers is not None and (known := fields.known_speakers):
            voices = await unless_disconnected(visit.request, self._service.voices(known))
            wish = replace(wish, voices=voices)
        began = time.monotonic()
        await unless_disconnected(visit.request, self._service.loaded(wish.model))
        if (took := time.monotonic() - began) > _AT_ONCE:
            visit.note("load", f"{took:.3f}s")
        return wish


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that has been let in, and what is freed when it leaves."""

    request: Request
    priority: Priority
    deadline: Deadline
    permit: Permit
    resources: AsyncExitStack
    service: Service
    metrics: Metrics

    def note(self, name: str, value: str) -> None:
        """Say something about the request in its line of the log."""
        notes_of(self.request.scope).details[name] = value

    def answered_by(self, model: str) -> None:
        """Say which model answers, in the answer's header and in the log."""
        notes_of(self.request.scope).answered_by(model)

    def waited(self, seconds: float) -> None:
        """A piece of work waited so long for a worker. Of the first one the log tells: the later
        ones wait while those before them are worked on."""
        notes_of(self.request.scope).details.setdefault("queue", f"{seconds:.3f}s")

    def _heard(self, seconds: float) -> None:
        """So much audio was worked on."""
        details = notes_of(self.request.scope).details
        before = float(details.get("audio", "0").removesuffix("s"))
        details["audio"] = f"{before + seconds:.2f}s"

    async def parts(self, spool: Spool, wish: TranscriptionRequest) -> AsyncGenerator[Part, None]:
        """The service's parts, counted."""
        with self.permit.recording() as recording:
            wish = replace(wish, waited=self.waited)
            async with aclosing(self.service.transcribe(spool, wish, recording.expect)) as parts:
                async for part in parts:
                    recording.done(part.position)
                    if part.duration is not None:
                        self.metrics.audio(wish.model.name, part.duration)
                        self._heard(part.duration)
                    yield part

    async def fetched(self, url: str, wish: TranscriptionRequest) -> AsyncGenerator[Part, None]:
        """Parts of a recording that is downloaded at the same time."""
        spool = self.download(url)
        async with aclosing(self.parts(spool, wish)) as parts:
            with blaming_the_url():
                async for part in parts:
                    yield part

    async def diarized(
        self, spool: Spool, fields: DiarizeFields, voices: Sequence[Voice] = ()
    ) -> Diarized:
        """Who speaks when in ``spool``, counted."""
        self.answered_by(self.service.diarizer.name)
        with self.permit.recording() as recording:
            found = await self.service.diarize(
                spool, fields.counts, voices, track=fields.track, expect=recording.expect
            )
            recording.finish()
            self._heard(recording.seconds)
            return found

    def download(self, url: str) -> Spool:
        """What fills with the bytes from ``url`` until the visit ends."""
        spool = self.resources.enter_context(self.service.spool())
        download = asyncio.create_task(self.service.fetcher.fetch(url, spool))
        self.resources.push_async_callback(cancelled, download)
        return spool

    async def streamed(
        self,
        parts: AsyncGenerator[Part, None],
        shape: Shape,
    ) -> EventStream:
        """An answer that takes over what the visit holds."""
        ready = await unless_disconnected(self.request, answers.primed(parts, self.resources))
        events = answers.events(self.noted(ready), shape)
        return EventStream(events, self.resources.pop_all(), self.deadline)

    async def noted(self, pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """``pieces``; a failure in the midst of them, which no status tells, is in the log."""
        async with aclosing(pieces):
            try:
                async for piece in pieces:
                    yield piece
            except ReflectorError as error:
                note_failure(self.request.scope, error)
                raise


@contextmanager
def blaming_the_url(field: str = URL_FIELD) -> Iterator[None]:
    """What is wrong with the audio, or with its download, is the fault of the ``field`` that
    named it."""
    try:
        yield
    except ReflectorError as error:
        if error.param in ("file", URL_FIELD):
            error.param = field
        raise


def single(form: Form) -> Upload:
    """The file of a route that takes no more than one."""
    if len(form.files) > 1:
        raise InvalidRequest("This route takes a single file.", param="file")
    return form.files[0]
