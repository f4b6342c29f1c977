"""The language model that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from reflector_gpu.engines.completion.base import CompleterModel
from reflector_gpu.engines.completion.catalog import completer_of
from reflector_gpu.engines.recognition.names import LLM
from reflector_gpu.errors import NotConfigured, UnknownModel
from reflector_gpu.llm.base import LanguageModel
from reflector_gpu.llm.pooled import PooledModel
from reflector_gpu.llm.upstream import UpstreamModel, UpstreamOptions
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.settings import Settings
from reflector_gpu.types import Completion, Prompt


def language_model(
    settings: Settings, pool: Callable[[CompleterModel], Pool[Prompt, Completion]]
) -> LanguageModel | None:
    """The model that ``settings`` name, if they name one.

    ``pool`` starts the workers of a model that runs here.

    Raises:
        ConfigurationError: the engine lacks a setting or a file.
    """
    if settings.llm_engine == "openai":
        return UpstreamModel(UpstreamOptions.of(settings))
    if settings.llm_engine == "ctranslate2":
        model = completer_of(settings.llm_model, settings.llm_context)
        return PooledModel(model, lambda: pool(model), settings.llm_max_tokens)
    return None


def chosen(model: LanguageModel | None, name: str | None) -> LanguageModel:
    """The configured ``model``, if ``name`` means it or is left out.

    Raises:
        NotConfigured: there is none.
        UnknownModel
    """
    if model is None:
        raise NotConfigured(
            "There is no language model here. To have one, set REFLECTOR_LLM_ENGINE and "
            "REFLECTOR_LLM_MODEL, and for the engine 'openai' REFLECTOR_LLM_BASE_URL as well."
        )
    if name and name not in (model.name, LLM):
        raise UnknownModel(
            f"Language model '{name[:100]}' does not exist here; it is '{model.name}', "
            f"and '{LLM}' means the same.",
            param="model",
        )
    return model
