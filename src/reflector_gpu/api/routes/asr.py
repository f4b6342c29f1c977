"""The routes of whisper-asr-webservice, for the programs that make subtitles with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, vocabularies
from reflector_gpu.api import responses as answers
from reflector_gpu.api.asr import AUDIO_FILE, DetectFields
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.api.intake import Intake, single
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.wav import STREAM_HEAD
from reflector_gpu.formats import whisper_asr as render
from reflector_gpu.formats.whisper_asr import DetectedLanguage
from reflector_gpu.languages import language_name
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import explained
from reflector_gpu.types import Priority

_ENOUGH_SECONDS = 30.0
"""Seconds of a recording that tell its language."""

_LONGEST_SECONDS = 300.0
"""Seconds after which detection gives up, if nobody has spoken."""

_NAMES = (AUDIO_FILE, "file")


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The routes over ``service``."""
    routes = APIRouter(tags=["whisper-asr-webservice"])
    intake = Intake(service, metrics)

    @routes.post("/asr", openapi_extra=openapi.ASR)
    async def asr(request: Request) -> Response:
        """Transcribe a recording into a file: txt, srt, vtt, tsv or json."""
        async with intake.visit(request, Priority.FILE) as visit:
            spool = _spools(intake.form_fields(request, vocabularies.ASR))
            form = await intake.form(visit, file_fields=_NAMES, spool=spool)
            fields = intake.form_fields(request, vocabularies.ASR, form)
            upload = single(form)
            with explained():
                wishes = fields.wishes
            wish = await intake.wish(visit, wishes, fields.task)
            work = answers.answer(
                visit.parts(upload.spool, wish),
                lambda found: render.file(found, fields.output, words=fields.word_timestamps),
            )
            response = await unless_disconnected(request, work)
            response.headers["Asr-Engine"] = quote(wish.model.name)
            name = f"{quote(upload.filename)}.{fields.output}"
            response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
            return response

    @routes.post("/detect-language", openapi_extra=openapi.DETECT_LANGUAGE)
    async def detect_language(request: Request) -> Response:
        """Say which language is spoken in the first half minute of speech."""
        async with intake.visit(request, Priority.LIVE) as visit:
            spool = _spools(intake.form_fields(request, vocabularies.DETECT))
            form = await intake.form(visit, file_fields=_NAMES, spool=spool)
            wish = await intake.wish(visit, TranscriptionFields.model_validate({}), "transcribe")
            parts = visit.parts(single(form).spool, wish)
            if len(wish.model.spec.languages) == 1:  # it takes everything for that
                await parts.aclose()
                return answers.response(_detected(Counter()), None)
            heard = await unless_disconnected(request, _heard(parts))
            return answers.response(_detected(heard), None)

    def _spools(fields: DetectFields) -> Callable[[], Spool]:
        return service.spool if fields.encode else _with_head

    def _with_head() -> Spool:
        """What makes a WAV file of the bare samples that are written to it."""
        spool = service.spool()
        spool.write(STREAM_HEAD)
        return spool

    return routes


async def _heard(parts: answers.Parts) -> Counter[str]:
    """How many characters were said in which language, until that is enough to go by."""
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
