"""Translation of text: the route of Reflector."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from reflector_gpu.api import openapi, responses, route_fields
from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import AppIntake, AppService
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.api.form_values import json_values
from reflector_gpu.formats import reflector
from reflector_gpu.types import Priority

_BYTES = 12
"""The most bytes that JSON needs for one character, which may take two escapes."""


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


router = APIRouter(tags=["translation"], route_class=CheckedQuery)


@router.post("/translate", openapi_extra=openapi.translate)
async def translate(request: Request, intake: AppIntake, service: AppService) -> Response:
    """Translate text.

    Fields may stand in the query, in a JSON body, or in both. Languages are codes of ISO 639, tags
    of BCP 47 or English names, and the answer has them as they were sent. White space and line
    breaks stay.
    """
    async with intake.admit(request, Priority.LIVE) as context:
        limit = _BYTES * service.settings.translate_characters + 10_000
        body = await intake.body(context, limit)
        values = dict(request.query_params.items()) | (json_values(body) if body.strip() else {})
        fields = intake.fields(request, route_fields.TRANSLATE, values)
        source, target = fields.source_language, fields.target_language
        work = service.translations.translate([fields.text], source, target, context.priority)
        translated = await unless_disconnected(request, work)
        if translated.model:
            context.answered_by(translated.model)
        found = reflector.translation(source, target, fields.text, translated.texts[0])
        return responses.of_body(found)


@router.get("/v1/translation/languages", responses={"default": ANY_FAILURE})
async def list_languages(service: AppService) -> TranslatorList:
    """List the languages that the configured translators know. 503 if none is installed."""
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
