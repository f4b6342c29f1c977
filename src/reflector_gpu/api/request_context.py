"""What a request holds while it is worked on, and what is counted and logged of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, replace

from fastapi import Request

from reflector_gpu.api.connection import (
    Deadline,
    EventStream,
    first_event,
    unless_disconnected,
)
from reflector_gpu.api.fields import DiarizeFields
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.request_record import record_of
from reflector_gpu.audio.guard import URL_FIELD
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import UpstreamTimeout, blaming
from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.pipeline.identification import Identify
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.runtime.admission import Permit
from reflector_gpu.service import Service, TranscriptionRequest
from reflector_gpu.types import Priority


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request that has been admitted. ``resources`` are freed when it has been answered."""

    request: Request
    priority: Priority
    deadline: Deadline
    permit: Permit
    resources: AsyncExitStack
    service: Service
    metrics: Metrics

    @property
    def owner(self) -> str:
        """The owner of the request's key, for whom voices may be remembered."""
        owner: str = getattr(self.request.state, "owner", "")
        return owner

    def log(self, name: str, value: str) -> None:
        """Add ``name=value`` to the request's line of the log."""
        record_of(self.request.scope).details[name] = value

    def answered_by(self, model: str) -> None:
        """Name the model that answers, in a header and in the log."""
        record_of(self.request.scope).answered_by(model)

    def waited(self, seconds: float) -> None:
        """A piece of work waited ``seconds`` for a worker. Only the first wait is logged, because
        later pieces also wait for the request's own earlier ones."""
        record_of(self.request.scope).details.setdefault("queue", round(seconds, 3))

    def _has_words(self) -> None:
        """Some words of the answer are known. The first are counted."""
        record = record_of(self.request.scope)
        if not record.has_words:
            record.has_words = True
            seconds = time.monotonic() - record.began
            self.metrics.first_word(self.request.scope["route"].path, seconds)

    def _worked_on(self, seconds: float) -> None:
        """Add ``seconds`` of audio to those in the log."""
        details = record_of(self.request.scope).details
        details["audio"] = round(float(details.get("audio", 0.0)) + seconds, 3)
        if accounts := self.request.app.state.accounts:
            accounts.usage.audio(getattr(self.request.state, "owner", ""), seconds)

    async def parts(
        self, spool: Spool, wanted: TranscriptionRequest, field: str = "file"
    ) -> AsyncGenerator[Part, None]:
        """The parts of a transcript, counted. ``field`` is the one that the audio came in."""
        wanted = replace(wanted, waited=self.waited)
        began = time.monotonic()
        transcribe = self.service.recordings.transcribe
        with self.permit.recording() as recording, blaming_for_audio(field):
            try:
                async with aclosing(transcribe(spool, wanted, recording)) as parts:
                    async for part in parts:
                        recording.done(part.position)
                        if part.segments and wanted.streamed:
                            self._has_words()
                        if part.duration is not None:
                            took = time.monotonic() - began
                            self.metrics.recording(wanted.model.name, part.duration, took)
                        yield part
            finally:  # also if the client leaves, or what follows fails
                self._worked_on(recording.completed)

    async def diarized(
        self,
        spool: Spool,
        fields: DiarizeFields,
        voices: Sequence[Voice] = (),
        identify: Identify | None = None,
    ) -> Diarized:
        """The speakers in ``spool``, counted."""
        recordings, track = self.service.recordings, fields.track
        with self.permit.recording() as recording:
            try:
                if fields.separate:
                    found = await recordings.diarize_channels(spool, track=track, tally=recording)
                else:
                    self.answered_by(self.service.diarizer.name)
                    found = await recordings.diarize(
                        spool, fields.counts, voices, identify, track=track, tally=recording
                    )
                recording.finish()
            except asyncio.CancelledError:  # the client has left, or its time is over
                recording.abandon()
                raise
            finally:
                self._worked_on(recording.completed)
            return found

    async def download(self, url: str) -> Spool:
        """A spool that fills with the bytes from ``url`` until the request is answered."""
        spool = await self.resources.enter_async_context(self.service.recordings.download(url))

        def received() -> float:
            return math.inf if spool.complete else spool.size

        def leave() -> None:
            spool.fail(
                UpstreamTimeout(
                    "The audio host sends slowly, and other requests needed the place of this one; "
                    "try again, or upload the file.",
                    param=URL_FIELD,
                )
            )

        self.resources.enter_context(self.permit.arriving(received, leave))
        return spool

    async def streamed(self, events: AsyncGenerator[str, None]) -> EventStream:
        """An answer of ``events`` that takes over what the request holds."""
        first = await unless_disconnected(self.request, first_event(events, self.resources))
        return EventStream(first, events, self.resources.pop_all(), self.deadline)


def blaming_for_audio(field: str = URL_FIELD) -> AbstractContextManager[None]:
    """Errors about the audio or its download are about ``field``."""
    return blaming({"file": field, URL_FIELD: field})
