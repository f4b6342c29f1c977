"""The routes of whisper-asr-webservice, which subtitle programs use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, responses, route_fields
from reflector_gpu.api.asr_fields import AUDIO_FILE, DetectFields
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import AppIntake, AppService
from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.api.intake import single
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.wav import STREAM_HEAD
from reflector_gpu.formats import whisper_asr
from reflector_gpu.formats.whisper_asr import DetectedLanguage
from reflector_gpu.languages import language_name
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import explained
from reflector_gpu.types import Priority

_ENOUGH_SECONDS = 30.0
"""Seconds of a recording that are enough to detect its language."""

_LONGEST_SECONDS = 300.0
"""Detection gives up after so many seconds without speech."""

_NAMES = (AUDIO_FILE, "file")


router = APIRouter(tags=["whisper-asr-webservice"])


@router.post("/asr", openapi_extra=openapi.asr)
async def asr(request: Request, intake: AppIntake, service: AppService) -> Response:
    """Transcribe a recording into a file: txt, srt, vtt, tsv or json."""
    async with intake.admit(request, Priority.FILE) as context:
        spool = _spool_for(service, intake.form_fields(request, route_fields.ASR))
        form = await intake.form(context, file_fields=_NAMES, spool=spool)
        fields = intake.form_fields(request, route_fields.ASR, form)
        upload = single(form)
        with explained():
            transcription_fields = fields.transcription_fields
        wanted = await intake.transcription_request(context, transcription_fields, fields.task)
        work = responses.of_transcript(
            context.parts(upload.spool, wanted),
            lambda found: whisper_asr.file(found, fields.output, words=fields.word_timestamps),
        )
        response = await unless_disconnected(request, work)
        response.headers["Asr-Engine"] = quote(wanted.model.name)
        name = f"{quote(upload.filename)}.{fields.output}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


@router.post("/detect-language", openapi_extra=openapi.detect_language)
async def detect_language(request: Request, intake: AppIntake, service: AppService) -> Response:
    """Say which language is spoken in the first half minute of speech."""
    async with intake.admit(request, Priority.LIVE) as context:
        spool = _spool_for(service, intake.form_fields(request, route_fields.DETECT))
        form = await intake.form(context, file_fields=_NAMES, spool=spool)
        fields = TranscriptionFields.model_validate({})
        wanted = await intake.transcription_request(context, fields, "transcribe")
        parts = context.parts(single(form).spool, wanted)
        if len(wanted.model.spec.languages) == 1:  # it cannot detect any
            await parts.aclose()
            return responses.of_body(_detected(Counter()))
        heard = await unless_disconnected(request, _heard(parts))
        return responses.of_body(_detected(heard))


def _spool_for(service: Service, fields: DetectFields) -> Callable[[], Spool]:
    """What makes a spool for the upload. Bare samples get the header of a WAV file."""

    def with_head() -> Spool:
        spool = service.recordings.spool()
        spool.write(STREAM_HEAD)
        return spool

    return service.recordings.spool if fields.encode else with_head


async def _heard(parts: responses.Parts) -> Counter[str]:
    """Characters of text by language, until there is enough to decide."""
    heard: Counter[str] = Counter()
    async with aclosing(parts):
        async for part in parts:
            if part.language and part.segments:
                heard[part.language] += sum(len(segment.text) for segment in part.segments)
            if part.position >= (_ENOUGH_SECONDS if heard else _LONGEST_SECONDS):
                break
    return heard


def _detected(heard: Counter[str]) -> DetectedLanguage:
    if not heard.total():
        return DetectedLanguage(detected_language="unknown", language_code="und", confidence=0.0)
    ((code, count),) = heard.most_common(1)
    return DetectedLanguage(
        detected_language=language_name(code),
        language_code=code,
        confidence=round(count / heard.total(), 3),
    )
