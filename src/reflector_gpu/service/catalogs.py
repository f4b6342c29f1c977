"""Find the models that the settings name, and check that no two kinds share a name."""

from __future__ import annotations

from collections.abc import Iterable

from reflector_gpu.engines.catalogs import CATALOGS
from reflector_gpu.engines.recognition.base import RECOGNITION
from reflector_gpu.engines.recognition.names import LLM
from reflector_gpu.engines.recognition.parakeet.models import on_torch
from reflector_gpu.engines.recognition.resolution import Recognisers
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings


def recognisers_of(settings: Settings) -> Recognisers:
    """The recognisers that ``settings`` name.

    Raises:
        UnknownModel
        ConfigurationError: a name leads nowhere, or is that of a model of another kind.
    """
    others = [one for one in CATALOGS.values() if one.capability is not RECOGNITION]
    kinds = {name: one.capability.kind for one in others for name in one.own(settings.model_paths)}
    folders = {name: path for name, path in settings.model_paths.items() if name not in kinds}
    recognisers = Recognisers(
        settings.model,
        settings.model_aliases,
        folders,
        settings.auto_models,
        on_torch(settings.parakeet_runtime, settings.devices),
    )
    for one in others:
        _check_free(recognisers, (*one.models, *one.aliases), f"a {one.capability.kind}")
    _check_free(recognisers, [LLM], "the language model")
    for name, kind in kinds.items():
        known = {known for one in others if one.capability.kind != kind for known in one.models}
        if name.lower() in {*known, LLM} or recognisers.knows(name):
            raise ConfigurationError(
                f"REFLECTOR_MODEL_PATHS: '{name}' holds a {kind}, and is the name of another "
                "model; give it one of its own."
            )
    return recognisers


def check_language_model(recognisers: Recognisers, name: str) -> None:
    """Raise `ConfigurationError` if another model has the ``name`` of the language model."""
    _check_free(recognisers, [name], "the language model")


def _check_free(recognisers: Recognisers, taken: Iterable[str], what: str) -> None:
    """Raise `ConfigurationError` if the operator has given a name that is ``taken``."""
    folded = {name.casefold() for name in taken}
    for variable, names in recognisers.chosen.items():
        for name in names:
            if name.casefold() in folded:
                raise ConfigurationError(
                    f"{variable}: '{name}' is the name of {what}; choose another."
                )
