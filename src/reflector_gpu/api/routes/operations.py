"""Is it alive, is it ready, what does it know, how is it doing."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from reflector_gpu.api.errors import ErrorBody
from reflector_gpu.api.metrics import CONTENT_TYPE, Metrics
from reflector_gpu.engines.base import Installable, Model
from reflector_gpu.engines.translation import TranslatorModel
from reflector_gpu.errors import UnknownModel
from reflector_gpu.llm.base import LanguageModel
from reflector_gpu.service import Service

HEALTH = ("/health", "/health/live", "/health/ready")
"""What needs no key."""


class Health(BaseModel):
    status: str = Field(examples=["ok"])


class ModelCard(BaseModel):
    """OpenAI's model object, and what this service knows beyond it."""

    id: str = Field(examples=["sphinx"])
    object: str = "model"
    created: int = 0
    owned_by: str = "reflector-gpu"
    type: Literal["recogniser", "diarizer", "translator", "llm"] = Field(
        description="`recogniser`: may be named in requests. `diarizer`: tells speakers apart. "
        "`translator`: see /v1/translation/languages. `llm`: may be named in chat completions."
    )
    description: str
    languages: list[str] = Field(examples=[["en"]])
    licence: str
    default: bool = Field(description="What requests that name none get.")
    state: str = Field(
        description="`ready`, `loading`, `idle` (loaded again when it is needed), `failed`, "
        "`not loaded`, `downloading` or `not installed`.",
        examples=["ready"],
    )


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelCard]


def router(service: Service, metrics: Metrics) -> APIRouter:
    failure = {"model": ErrorBody, "description": "What went wrong"}
    routes = APIRouter(tags=["operations"], responses={"default": failure})

    @routes.get("/health")
    @routes.get("/health/live")
    async def live() -> Health:
        """The process answers. Needs no key."""
        return Health(status="ok")

    @routes.get("/health/ready")
    async def ready() -> Health:
        """The configured model is loaded; 503 with the reason until it is. Needs no key."""
        service.check_ready()
        return Health(status="ready")

    for path, answer in zip(HEALTH, (live, live, ready), strict=True):
        routes.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)

    @routes.get("/v1/models")
    async def list_models() -> ModelList:
        translators = service.translations.models
        models = [*service.catalog.models.values(), service.diarizer, *translators]
        cards = [_card(service, model) for model in models]
        return ModelList(data=[*cards, *map(_llm_card, service.language_models)])

    @routes.get("/v1/models/{name:path}")
    async def retrieve_model(name: str) -> ModelCard:
        if not name:
            raise UnknownModel("Name a model: GET /v1/models lists them.", param="model")
        for helper in (service.diarizer, *service.translations.models):
            if name == helper.name:
                return _card(service, helper)
        for model in service.language_models:
            if name == model.name:
                return _llm_card(model)
        return _card(service, service.catalog.resolve(name))

    @routes.get("/metrics", response_class=Response)
    async def read_metrics() -> Response:
        """Counters and gauges in Prometheus' text format."""
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return routes


def _llm_card(model: LanguageModel) -> ModelCard:
    return ModelCard(
        id=model.name,
        type="llm",
        description=model.summary,
        languages=[],
        licence=model.licence,
        default=True,
        state=model.state,
    )


def _card(service: Service, model: Installable) -> ModelCard:
    return ModelCard(
        id=model.name,
        type=_type(model),
        description=model.summary,
        languages=sorted(model.spec.languages) if isinstance(model, Model) else [],
        licence=model.licence,
        default=not isinstance(model, Model) or model in service.catalog.defaults,
        state=_state(service, model),
    )


def _type(model: Installable) -> Literal["recogniser", "diarizer", "translator"]:
    if isinstance(model, TranslatorModel):
        return "translator"
    return "recogniser" if isinstance(model, Model) else "diarizer"


def _state(service: Service, model: Installable) -> str:
    if service.hosts.missing(model):
        return "downloading" if model in service.downloads else "not installed"
    state = service.hosts.state(model)
    return state.value if state else "not loaded"
