"""The models that the settings name, and that no two kinds of them share a name."""

from __future__ import annotations

from collections.abc import Iterable

from reflector_gpu.engines.diarization import catalog as diarizers
from reflector_gpu.engines.diarization.catalog import DIARIZERS, own_diarizers
from reflector_gpu.engines.recognition.catalog import Catalog
from reflector_gpu.engines.recognition.names import LLM
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings


def catalog_of(settings: Settings) -> Catalog:
    """The recognisers that ``settings`` name.

    Raises:
        UnknownModel
        ConfigurationError: a name leads nowhere, or is that of a model of another kind.
    """
    own = own_diarizers(settings.model_paths)
    folders = {name: path for name, path in settings.model_paths.items() if name not in own}
    catalog = Catalog(settings.model, settings.model_aliases, folders, settings.auto_models)
    _check_free(catalog, (*DIARIZERS, *diarizers.ALIASES), "what tells speakers apart")
    _check_free(catalog, TRANSLATORS, "a translator")
    _check_free(catalog, [LLM], "the language model")
    others = {*TRANSLATORS, LLM}
    for name in own:
        if name.lower() in others or catalog.knows(name):
            raise ConfigurationError(
                f"REFLECTOR_MODEL_PATHS: '{name}' holds what tells speakers apart, and is the "
                "name of another model; give it one of its own."
            )
    return catalog


def check_language_model(catalog: Catalog, name: str) -> None:
    """Raise `ConfigurationError` if the language model is called as the operator calls another."""
    _check_free(catalog, [name], "the language model")


def _check_free(catalog: Catalog, taken: Iterable[str], what: str) -> None:
    """Raise `ConfigurationError` if one of the operator's names is ``taken``."""
    folded = {name.casefold() for name in taken}
    for variable, names in catalog.chosen.items():
        for name in names:
            if name.casefold() in folded:
                raise ConfigurationError(
                    f"{variable}: '{name}' is the name of {what}; choose another."
                )
