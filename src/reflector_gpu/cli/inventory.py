"""All models, and what the command line says about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalogs import CATALOGS, helpers
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.resolution import Recognisers, on_disk
from reflector_gpu.engines.translation.neural import opus
from reflector_gpu.engines.weights import Weights, size
from reflector_gpu.errors import UnknownModel
from reflector_gpu.service.catalogs import recognisers_of
from reflector_gpu.settings import Settings
from reflector_gpu.suggest import suggestion


@dataclass(frozen=True, slots=True)
class Inventory:
    """The models that ``settings`` know. ``by_kind`` has them by their kinds and their names."""

    settings: Settings
    recognisers: Recognisers
    by_kind: Mapping[str, Mapping[str, AnyModel]]

    @classmethod
    def of(cls, settings: Settings) -> Inventory:
        by_kind = {kind: one.known(settings.model_paths) for kind, one in CATALOGS.items()}
        for model in helpers(settings):  # a configured translator may be in no catalog
            by_kind[model.capability.kind][model.name] = model
        return cls(settings, recognisers_of(settings), by_kind)

    @property
    def kinds(self) -> list[str]:
        """The kinds of which there are models."""
        return [kind for kind, models in self.by_kind.items() if models]

    @property
    def models(self) -> list[AnyModel]:
        return [model for models in self.by_kind.values() for model in models.values()]

    @property
    def defaults(self) -> tuple[str, ...]:
        """The names of the models that answer requests that name none, as a server would say."""
        answering = self.recognisers.resolve(None, closeness=self.closeness)
        return (answering.name, *(one.name for one in helpers(self.settings)))

    def closeness(self, model: RecogniserModel) -> int:
        """How far ``model`` is from working for a server that starts with the settings."""
        return on_disk(model, downloads=self.settings.auto_pull)

    @property
    def aliases(self) -> dict[str, RecogniserModel | None]:
        """What the operator's own names mean; None is what `auto` chooses for each request."""
        return self.recognisers.aliased(self.closeness)

    def find(self, name: str) -> AnyModel:
        """The model that ``name`` means.

        Raises:
            UnknownModel: there is none.
        """
        if self.recognisers.knows(name):
            return self.recognisers.resolve(name)
        for kind, models in self.by_kind.items():
            if found := models.get(name) or models.get(CATALOGS[kind].aliases.get(name, "")):
                return found
        if (pair := opus(name)) is not None:
            return pair
        near = suggestion(name, [model.name for model in self.models])
        hint = f"Did you mean '{near}'? " if near else ""
        raise UnknownModel(f"'{name}' does not exist. {hint}`reflector-gpu models list` has all.")

    def sharing(self, model: AnyModel) -> list[AnyModel]:
        """The other models that have weights, and may share files with ``model``."""
        return [one for one in self.models if one.weights and one.name != model.name]


def state(model: AnyModel) -> str:
    """``installed``, or what keeps it from working here."""
    missing = model.missing
    if not missing:
        return "installed"
    if model.downloadable:
        return _downloaded(model.weights)
    if model.extra and set(missing) & set(model.packages):
        return f"needs extra {model.extra}"
    return f"needs {' '.join(name for name in missing if name != 'weights')}"


def folder(model: AnyModel) -> str | None:
    """Where the model's files are, if they are here and not in a package."""
    if model.weights and model.weights.folder:
        return str(model.weights.folder)
    return model.arguments.get("weights")


def megabytes(model: AnyModel) -> str:
    return size(model.weights.megabytes) if model.weights else ""


def languages(model: AnyModel) -> list[str]:
    """The codes of the languages that a recogniser knows."""
    return sorted(model.spec.languages)


def _downloaded(weights: Weights | None) -> str:
    here = weights.fetched if weights else 0
    return f"{size(here)} downloaded" if here >= 1 else "not downloaded"
