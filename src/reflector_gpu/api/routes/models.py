"""The models: their names, what they know, and their states."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.dependencies import AppService
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalogs import CATALOGS
from reflector_gpu.engines.recognition import names
from reflector_gpu.engines.recognition.base import RECOGNITION
from reflector_gpu.errors import UnknownModel
from reflector_gpu.llm.base import LanguageModel
from reflector_gpu.service import Service

_ABSENT = "not installed"
_ORDER = ("ready", "loading", "idle", "not loaded", "failed", "closed", "downloading", _ABSENT)
"""The states, the most useful first."""


class ModelCard(BaseModel):
    """OpenAI's model object, and what this service knows beyond it."""

    id: str = Field(examples=["sphinx"])
    object: str = "model"
    created: int = 0
    owned_by: str = "reflector-gpu"
    type: str = Field(
        json_schema_extra={"enum": list(CATALOGS)},
        description=" ".join(
            f"`{kind}`: {catalog.capability.purpose}." for kind, catalog in CATALOGS.items()
        ),
    )
    means: str | None = Field(
        default=None,
        description="For an alias: the model that answers now, if a request names no language.",
        examples=[None],
    )
    description: str
    languages: list[str] = Field(examples=[["en"]])
    licence: str
    default: bool = Field(
        description="Whether this one answers requests that name neither a model nor a language."
    )
    state: str = Field(
        description="`ready`, `loading`, `idle` (loaded again when it is needed), `failed`, "
        "`not loaded`, `downloading` or `not installed`.",
        examples=["ready"],
    )
    installation: str | None = Field(
        default=None,
        description="For a model that is not installed: the command that installs it where the "
        "server runs.",
        examples=[None],
    )


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelCard]


All = Annotated[
    bool, Query(description="List what is not installed too, and OpenAI's other names.")
]


router = APIRouter(
    tags=["operations"], responses={"default": ANY_FAILURE}, route_class=CheckedQuery
)


@router.head("/v1/models", include_in_schema=False)
@router.get("/v1/models")
async def list_models(service: AppService, *, all: All = False) -> ModelList:  # noqa: A002  the client's word
    """List the models. Those that are ready come first, then those that load."""
    known = [*service.recognisers.names, *(names.OPENAI[1:] if all else ())]
    cards = [_recogniser(service, name) for name in dict.fromkeys(known)]
    cards += [_card(service, model) for model in service.helpers]
    cards += map(_llm_card, service.language_models)
    shown = [card for card in cards if all or card.state != _ABSENT]
    return ModelList(data=sorted(shown, key=lambda card: _ORDER.index(card.state)))


@router.head("/v1/models/{name:path}", include_in_schema=False)
@router.get("/v1/models/{name:path}")
async def retrieve_model(service: AppService, name: str) -> ModelCard:
    """Describe one model, by any name that a request may use."""
    if not name:
        raise UnknownModel("Name a model: GET /v1/models lists them.", param="model")
    for helper in service.helpers:
        if CATALOGS[helper.capability.kind].aliases.get(name, name) == helper.name:
            return _named(_card(service, helper), name)
    for model in service.language_models:
        if name in (model.name, names.LLM):
            return _named(_llm_card(model), name)
    return _recogniser(service, name)


def _recogniser(service: Service, name: str) -> ModelCard:
    """The card of the recogniser that ``name`` means, under that name."""
    catalog = service.recognisers
    card = _card(service, catalog.resolve(name, closeness=service.closeness))
    if catalog.meaning(name).model is None:
        automatic = catalog.automatic
        known = {language for model in automatic for language in model.spec.languages}
        choice = ", ".join(model.name for model in automatic)
        card.languages = sorted(known)
        card.description = f"The first that knows the language: {choice}"
    return _named(card, name)


def _named(card: ModelCard, name: str) -> ModelCard:
    """``card`` under the ``name`` that was asked for."""
    if name == card.id:
        return card
    return card.model_copy(update={"id": name, "means": card.id, "default": False})


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


def _card(service: Service, model: AnyModel) -> ModelCard:
    state = _state(service, model)
    return ModelCard(
        id=model.name,
        type=model.capability.kind,
        description=model.summary,
        languages=sorted(model.spec.languages),
        licence=model.licence,
        default=model.capability is not RECOGNITION or model == service.default,
        state=state,
        installation=model.installation if state == _ABSENT else None,
    )


def _state(service: Service, model: AnyModel) -> str:
    if service.workers.missing(model):
        return "downloading" if model in service.downloads else _ABSENT
    state = service.workers.state(model)
    return state.value if state else "not loaded"
