"""The language models that run here, each from a folder of the operator."""

from __future__ import annotations

from pathlib import Path

from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.completion import generator
from reflector_gpu.engines.completion.base import COMPLETION, CompleterModel
from reflector_gpu.errors import ConfigurationError

COMPLETERS: Catalog[CompleterModel] = Catalog(capability=COMPLETION, setting="llm_model")


def completer_of(folder: str, context: int = 0) -> CompleterModel:
    """The model in ``folder``; see `generator.local`.

    Raises:
        ConfigurationError: there is none.
    """
    if not folder:
        raise ConfigurationError(
            "REFLECTOR_LLM_MODEL must be the folder of the model for REFLECTOR_LLM_ENGINE="
            "ctranslate2: what ct2-transformers-converter makes, with its tokenizer files."
        )
    model = generator.local(Path(folder), context)
    if model is None:
        raise ConfigurationError(
            f"REFLECTOR_LLM_MODEL: '{folder}' holds no language model in CTranslate2's form "
            "(model.bin, config.json, tokenizer.json)."
        )
    return model
