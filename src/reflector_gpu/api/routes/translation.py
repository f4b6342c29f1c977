"""Text to other languages: the route of Reflector."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from reflector_gpu.api import openapi, vocabularies
from reflector_gpu.api import responses as answers
from reflector_gpu.api.connection import read_body, unless_disconnected
from reflector_gpu.api.errors import ErrorBody
from reflector_gpu.api.form_values import json_values
from reflector_gpu.api.intake import Intake
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.formats import reflector
from reflector_gpu.service import Service
from reflector_gpu.types import Priority

_BYTES = 12
"""Of a character in JSON that is written as two escapes."""


class TranslatorCard(BaseModel):
    """What a translator knows, as tags of BCP 47."""

    model: str = Field(examples=["m2m100"])
    sources: list[str] = Field(examples=[["ca", "en", "es"]])
    targets: list[str] = Field(examples=[["ca", "en", "es"]])
    pairs: list[tuple[str, str]] | None = Field(
        description="The directions; null: from every source to every target.",
        examples=[[("en", "es"), ("es", "en")]],
    )


class TranslatorList(BaseModel):
    object: str = "list"
    data: list[TranslatorCard]


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The translation routes over ``service``."""
    failure = {"model": ErrorBody, "description": "What went wrong"}
    routes = APIRouter(tags=["translation"])
    intake = Intake(service, metrics)

    @routes.post("/translate", openapi_extra=openapi.TRANSLATE)
    async def translate(request: Request) -> Response:
        """Translate text. Fields may stand in the query, in a JSON body, or in both.

        Languages are codes of ISO 639, tags of BCP 47 or English names; the answer has them as
        they were sent.
        White space and line breaks stay.
        """
        settings = service.settings
        async with intake.visit(request, Priority.LIVE) as visit:
            most = _BYTES * settings.translate_characters + 10_000
            body = await read_body(request, settings.body_seconds, most)
            sent = dict(request.query_params.items()) | (json_values(body) if body.strip() else {})
            fields = intake.read(request, vocabularies.TRANSLATE, sent)
            source, target = fields.source_language, fields.target_language
            work = service.translations.translate([fields.text], source, target, visit.priority)
            translated = await unless_disconnected(request, work)
            if translated.model:
                visit.answered_by(translated.model)
            found = reflector.translation(source, target, fields.text, translated.texts[0])
            return answers.response(found, None)

    @routes.get("/v1/translation/languages", responses={"default": failure})
    async def list_languages() -> TranslatorList:
        """What the configured translators translate; 503 if none of them is installed."""
        return TranslatorList(
            data=[
                TranslatorCard(
                    model=model.name,
                    sources=known.sources,
                    targets=known.targets,
                    pairs=known.pairs,
                )
                for model, known in await service.translations.known()
            ]
        )

    return routes
