"""What each kind of job does, by the same fields as the synchronous calls."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import BaseModel

from reflector_gpu.api.fields import AudioDiarizeFields
from reflector_gpu.api.job_fields import (
    SPOKEN,
    DiarizationJobFields,
    ResultFields,
    TranscriptionJobFields,
)
from reflector_gpu.api.telemetry import Telemetry
from reflector_gpu.api.transcript_renderer import TranscriptRenderer
from reflector_gpu.api.wanted import model_for, transcription_request
from reflector_gpu.audio.guard import URL_FIELD
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, ModelNotInstalled, Unavailable, blaming
from reflector_gpu.formats import audio_warnings, diarization
from reflector_gpu.formats.response_format import MEDIA_TYPES, Format
from reflector_gpu.formats.schemas import Warnings
from reflector_gpu.jobs.job import Job, Options, Status
from reflector_gpu.jobs.journal import Journal
from reflector_gpu.jobs.records import DIARIZED, TRANSCRIPT
from reflector_gpu.pipeline.transcription import Gathered
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import explained
from reflector_gpu.types import Priority, Task, Transcript

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A result as it is sent, and the ``warnings`` about its recording, if there are any."""

    body: BaseModel | str
    media_type: str
    warnings: Warnings | None


class JobKind(Protocol):
    """A kind of job; also its `jobs.journal.Work`."""

    async def check(self, options: Options) -> None:
        """Raise `ReflectorError` if the job would fail whatever the recording is."""

    async def run(self, job: Job, recording: Spool, journal: Journal) -> bytes:
        """The result, packed; see `jobs.journal.Work`."""

    def render(self, job: Job, result: bytes, asked: ResultFields) -> Rendered:
        """The result in the format that was ``asked`` for.

        Raises:
            InvalidRequest: this job has no such format.
        """


class TranscriptionKind:
    """Speech to words; with the task ``translate``, to English ones."""

    def __init__(self, service: Service, telemetry: Telemetry, task: Task) -> None:
        self._service = service
        self._telemetry = telemetry
        self._task = task

    async def check(self, options: Options) -> None:
        fields = self._fields(options)
        model = model_for(self._service, fields, self._task)
        try:
            service = self._service
            if fields.known_speakers:  # whose they are is known once there is a job
                service.known_speakers.check_wanted()
                fields = fields.model_copy(update={"known_speakers": (), "diarize": True})
            await transcription_request(service, model, fields, self._task, Priority.FILE, "")
        except ModelNotInstalled:
            raise
        except Unavailable:
            pass  # this may be over when the job's turn comes

    async def run(self, job: Job, recording: Spool, journal: Journal) -> bytes:
        service, fields = self._service, self._fields(job.options)
        model = model_for(service, fields, self._task)
        await journal.answered_by(model.name)
        wanted = await transcription_request(
            service, model, fields, self._task, Priority.FILE, job.owner
        )
        wanted = replace(wanted, remember=journal.recognised, streamed=False)
        await service.loaded(wanted.model)
        gathered, began = Gathered(), time.monotonic()
        with blaming_for_audio_of(job), self._telemetry.job(job):
            async with aclosing(service.recordings.transcribe(recording, wanted, journal)) as parts:
                async for part in parts:
                    gathered.add(await journal.add(part))
                    if part.duration is not None:
                        took = time.monotonic() - began
                        self._telemetry.metrics.recording(model.name, part.duration, took)
        return await asyncio.to_thread(TRANSCRIPT.pack, gathered.transcript)

    def render(self, job: Job, result: bytes, asked: ResultFields) -> Rendered:
        fields = self._fields(job.options)
        form = self._format(fields, asked)
        told_apart = fields.tells_speakers
        changes: dict[str, object] = {"response_format": form}
        if asked.timestamp_granularities:
            changes["timestamp_granularities"] = asked.timestamp_granularities
        fields = fields.model_copy(update=changes)
        if form is Format.DIARIZED_JSON and not told_apart:
            raise InvalidRequest(
                "The job has not told speakers apart; submit one with 'diarize' set to true.",
                param="format",
            )
        transcript = TRANSCRIPT.unpack(result)
        if form is Format.DIARIZED_JSON and not _names_speakers(job, transcript):
            raise InvalidRequest(
                "Speakers are told apart once the whole recording is heard, and this job was not "
                "completed; ask for another format.",
                param="format",
            )
        spaces, offset = self._service.settings.word_spaces, fields.timestamp_offset
        renderer = TranscriptRenderer(fields, spaces, offset)
        if self._task == "translate":
            body = renderer.translation(transcript)
        elif not offset:
            body = renderer.file(transcript, job.name)
        else:
            body = renderer.body(transcript)
        media_type = MEDIA_TYPES[form] if form else _JSON
        return Rendered(body, media_type, audio_warnings.of_transcript(transcript, offset))

    def _format(self, fields: TranscriptionJobFields, asked: ResultFields) -> Format | None:
        if asked.format == "rttm":
            raise InvalidRequest("Only jobs of the kind 'diarization' have 'rttm'.", param="format")
        if asked.format is not None:
            found = None if asked.format == "reflector" else Format(asked.format)
        else:
            found = fields.response_format
        return Format.JSON if found is None and self._task == "translate" else found

    def _fields(self, options: Options) -> TranscriptionJobFields:
        unused = SPOKEN["transcription" if self._task == "transcribe" else "translation"].unused
        with explained():
            return TranscriptionJobFields.model_validate(
                {name: value for name, value in options.items() if name not in unused}
            )


class DiarizationKind:
    """Who speaks when."""

    def __init__(self, service: Service, telemetry: Telemetry) -> None:
        self._service = service
        self._telemetry = telemetry

    async def check(self, options: Options) -> None:
        fields = self._fields(options)
        fields.counts  # noqa: B018  raises if they contradict each other
        if fields.separate:  # no diarizer is needed
            return
        if fields.known_speakers:
            self._service.known_speakers.check_wanted()
        try:
            self._service.check_here(self._service.diarizer)
        except ModelNotInstalled:
            raise
        except Unavailable:
            pass  # this may be over when the job's turn comes
        await self._service.recordings.voices(fields.voices)

    async def run(self, job: Job, recording: Spool, journal: Journal) -> bytes:
        service, fields = self._service, self._fields(job.options)
        if fields.separate:
            with blaming_for_audio_of(job):
                return DIARIZED.pack(
                    await service.recordings.diarize_channels(
                        recording, track=fields.track, tally=journal
                    )
                )
        await journal.answered_by(service.diarizer.name)
        voices = await service.recordings.voices(fields.voices)
        with blaming_for_audio_of(job), self._telemetry.job(job):
            identify = None
            if fields.known_speakers:
                speakers = service.known_speakers
                identify = await speakers.identification(job.owner, fields.known_speakers)
            found = await service.recordings.diarize(
                recording, fields.counts, voices, identify, track=fields.track, tally=journal
            )
        return DIARIZED.pack(found)

    def render(self, job: Job, result: bytes, asked: ResultFields) -> Rendered:
        fields = self._fields(job.options)
        found = DIARIZED.unpack(result)
        warnings = audio_warnings.of_condition(found.condition, fields.timestamp)
        form = asked.format or fields.response_format or "json"
        if form == "rttm":
            text = diarization.rttm(found, job.name, offset=fields.timestamp)
            return Rendered(text, MEDIA_TYPES[Format.TEXT], warnings)
        if form != "json":
            raise InvalidRequest(
                "Jobs of the kind 'diarization' have the formats 'json' and 'rttm'.", param="format"
            )
        body = diarization.segments(found, offset=fields.timestamp)
        return Rendered(body, _JSON, warnings)

    @staticmethod
    def _fields(options: Options) -> AudioDiarizeFields:
        with explained():
            return DiarizationJobFields.model_validate(dict(options))


def _names_speakers(job: Job, transcript: Transcript) -> bool:
    """Whether it is known who speaks in a transcript of ``job``, which may have ended early."""
    return job.status is Status.COMPLETED or any(one.speaker for one in transcript.segments)


def kinds_of(service: Service, telemetry: Telemetry) -> dict[str, JobKind]:
    """All kinds by their names."""
    return {
        "transcription": TranscriptionKind(service, telemetry, "transcribe"),
        "diarization": DiarizationKind(service, telemetry),
        "translation": TranscriptionKind(service, telemetry, "translate"),
    }


def blaming_for_audio_of(job: Job) -> AbstractContextManager[None]:
    """Errors about the audio are about the field that it came in."""
    field = URL_FIELD if job.url else "file"
    return blaming({"file": field, URL_FIELD: field})
