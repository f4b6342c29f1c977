"""The model that a deployment runs, and the settings of the server before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.completion import generator
from reflector_gpu.engines.completion.base import COMPLETION
from reflector_gpu.settings import Settings


def deployed(catalog: Catalog[AnyModel], name: str, settings: Settings) -> AnyModel:
    """The model that ``name`` means. For a language model, it is the folder where it will run.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if catalog.capability is COMPLETION:
        return generator.planned(Path(name), settings.llm_context)
    return catalog.find(name, settings.model_paths)


def serving(catalog: Catalog[AnyModel], name: str) -> Mapping[str, object]:
    """The settings of a server that uses the model ``name``.

    There are none if a language model's folder is empty. The server then tells its clients so.
    """
    if catalog.capability is not COMPLETION:
        return {catalog.setting: name}
    if generator.local(Path(name)) is None:
        return {}
    return {"llm_engine": "ctranslate2", catalog.setting: name}
