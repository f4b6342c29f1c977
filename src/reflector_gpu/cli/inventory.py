"""Every model that can be named, and what the command line tells about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reflector_gpu.engines.base import DiarizerModel, Model, RecogniserModel
from reflector_gpu.engines.diarization.catalog import ALIASES, DIARIZERS, own_diarizers
from reflector_gpu.engines.recognition.catalog import Catalog
from reflector_gpu.engines.translation.base import TranslatorModel
from reflector_gpu.engines.translation.catalog import TRANSLATORS, translators_of
from reflector_gpu.engines.translation.neural import opus
from reflector_gpu.engines.weights import Weights, size
from reflector_gpu.errors import UnknownModel
from reflector_gpu.service.catalogs import catalog_of
from reflector_gpu.settings import Settings
from reflector_gpu.suggest import suggestion

KINDS = ("recogniser", "diarizer", "translator")


@dataclass(frozen=True, slots=True)
class Inventory:
    """The models of a configuration, by kind and name."""

    settings: Settings
    catalog: Catalog
    diarizers: Mapping[str, DiarizerModel]
    translators: Mapping[str, TranslatorModel]

    @classmethod
    def of(cls, settings: Settings) -> Inventory:
        configured = {model.name: model for model in translators_of(settings.translator)}
        return cls(
            settings,
            catalog_of(settings),
            {**DIARIZERS, **own_diarizers(settings.model_paths)},
            {**TRANSLATORS, **configured},
        )

    @property
    def models(self) -> list[Model]:
        return [
            *self.catalog.models.values(),
            *self.diarizers.values(),
            *self.translators.values(),
        ]

    @property
    def defaults(self) -> tuple[str, ...]:
        """Names of what is used where a request names nothing."""
        settings = self.settings
        diarizer = ALIASES.get(settings.diarizer, settings.diarizer)
        return (self.catalog.default.name, diarizer, *settings.translator)

    def find(self, name: str) -> Model:
        """The model that somebody means.

        Raises:
            UnknownModel: there is none of this name.
        """
        if self.catalog.knows(name):
            return self.catalog.resolve(name)
        diarizer = self.diarizers.get(name) or self.diarizers.get(ALIASES.get(name, name))
        if found := diarizer or self.translators.get(name) or opus(name):
            return found
        known = [model.name for model in self.models]
        near = suggestion(name, known)
        hint = f"Did you mean '{near}'? " if near else ""
        raise UnknownModel(
            f"'{name}' does not exist. {hint}"
            f"There are: {', '.join(known)}, opus-mt-LANGUAGE-LANGUAGE."
        )

    def sharing(self, model: Model) -> list[Model]:
        """Other models with weights."""
        return [one for one in self.models if one.weights and one.name != model.name]


def kind(model: Model) -> str:
    """One of `KINDS`."""
    if isinstance(model, TranslatorModel):
        return "translator"
    return "recogniser" if isinstance(model, RecogniserModel) else "diarizer"


def state(model: Model) -> str:
    """``installed``, or what keeps it from working here."""
    missing = model.missing
    if not missing:
        return "installed"
    if model.downloadable:
        return _downloaded(model.weights)
    if model.extra and set(missing) & set(model.packages):
        return f"needs extra {model.extra}"
    return f"needs {' '.join(name for name in missing if name != 'weights')}"


def folder(model: Model) -> str | None:
    """Where its files are, if they are here and not in a package."""
    if model.weights and model.weights.folder:
        return str(model.weights.folder)
    return model.arguments.get("weights")


def megabytes(model: Model) -> str:
    return size(model.weights.megabytes) if model.weights else ""


def languages(model: Model) -> list[str]:
    """Codes that a recogniser hears."""
    return sorted(model.spec.languages) if isinstance(model, RecogniserModel) else []


def _downloaded(weights: Weights | None) -> str:
    here = weights.fetched if weights else 0
    return f"{size(here)} downloaded" if here >= 1 else "not downloaded"
