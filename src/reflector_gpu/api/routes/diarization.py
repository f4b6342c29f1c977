"""Diarization: the route of Reflector, and the one of Speaches and LocalAI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from reflector_gpu.api import openapi, responses, route_fields
from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import AppIntake, AppService
from reflector_gpu.api.fields import DiarizeFields
from reflector_gpu.api.intake import Intake, single
from reflector_gpu.api.request_context import RequestContext, blaming_for_audio
from reflector_gpu.api.upload import Upload
from reflector_gpu.formats import audio_warnings, diarization, reflector
from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.pipeline.identification import Identify
from reflector_gpu.service import Service
from reflector_gpu.types import Priority

F = TypeVar("F", bound=DiarizeFields)


router = APIRouter(tags=["diarization"])


@router.post("/diarize", openapi_extra=openapi.diarize)
async def diarize(request: Request, intake: AppIntake, service: AppService) -> Response:
    """Tell speakers apart in a recording that is uploaded, or fetched by the server.

    Speakers are numbers from 0 in the order in which they first speak, as Reflector reads them.
    Transcripts call the same speakers `A`, `B` and so on. Turns may overlap. Those of speakers whom
    the server remembers (`known_speakers`) have a name as well.
    """
    async with _recording(request, intake, route_fields.DIARIZE) as (context, upload, fields):
        identify = await _identification(service, context, fields)
        work = context.diarized(upload.spool, fields, identify=identify)
        found = await unless_disconnected(request, work)
        return _response(reflector.diarization(found, offset=fields.timestamp), found, fields)


@router.post("/v1/audio/diarization", openapi_extra=openapi.audio_diarization)
async def create_diarization(request: Request, intake: AppIntake, service: AppService) -> Response:
    """Tell speakers apart, by name where their voices are known, as JSON or RTTM.

    The recording is uploaded, or fetched by the server. Turns may overlap.
    """
    names = route_fields.AUDIO_DIARIZATION
    async with _recording(request, intake, names) as (context, upload, fields):
        known = [] if fields.separate else fields.voices
        listening = service.recordings.voices(known)
        voices = await unless_disconnected(request, listening)
        identify = await _identification(service, context, fields)
        work = context.diarized(upload.spool, fields, voices, identify)
        found = await unless_disconnected(request, work)
        if fields.response_format == "rttm":
            text = diarization.rttm(found, upload.filename, offset=fields.timestamp)
            return _response(text, found, fields)
        body = diarization.segments(found, offset=fields.timestamp)
        return _response(body, found, fields)


async def _identification(
    service: Service, context: RequestContext, fields: DiarizeFields
) -> Identify | None:
    """Finds the remembered speakers whom the request names, if it names any."""
    if not fields.known_speakers:
        return None
    return await service.known_speakers.identification(context.owner, fields.known_speakers)


@asynccontextmanager
async def _recording(
    request: Request, intake: Intake, accepted: AcceptedFields[F]
) -> AsyncIterator[tuple[RequestContext, Upload, F]]:
    """The recording, which is uploaded or being fetched, and the fields of the request."""
    fields = intake.form_fields(request, accepted)
    if fields.audio_file_url:
        async with intake.admit(request, Priority.FILE) as context:
            with blaming_for_audio():
                spool = await context.download(fields.audio_file_url)
                yield context, Upload("audio", spool), fields
        return
    async with intake.admit(request, Priority.LIVE) as context:
        form = await intake.form(context)
        yield context, single(form), intake.form_fields(request, accepted, form)


def _response(body: BaseModel | str, found: Diarized, fields: DiarizeFields) -> Response:
    """``body``, with the warnings about the recording in a header."""
    response = responses.of_body(body)
    warnings = audio_warnings.of_condition(found.condition, fields.timestamp)
    response.headers.update(audio_warnings.headers(warnings))
    return response
