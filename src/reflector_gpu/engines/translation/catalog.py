"""Every translator the service knows by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reflector_gpu.engines.translation import apertium
from reflector_gpu.engines.translation import neural as ctranslate2_translation
from reflector_gpu.engines.translation.base import TranslatorModel
from reflector_gpu.errors import ConfigurationError

TRANSLATORS: Mapping[str, TranslatorModel] = {
    model.name: model for model in (*apertium.MODELS, *ctranslate2_translation.MODELS)
}


def translators_of(names: Sequence[str]) -> list[TranslatorModel]:
    """The translators that an operator means: known ones, an OPUS-MT of a pair, folders.

    Raises:
        ConfigurationError: a name or a folder leads nowhere.
    """
    return [translator_of(name) for name in names]


def translator_of(name: str) -> TranslatorModel:
    """As `translators_of`, for one."""
    if "/" in name:
        return ctranslate2_translation.local(Path(name))
    found = TRANSLATORS.get(name) or ctranslate2_translation.opus(name)
    if found is None:
        raise ConfigurationError(
            f"REFLECTOR_TRANSLATOR: '{name}' is none of {', '.join(TRANSLATORS)}, no OPUS-MT of a "
            "pair (opus-mt-en-fr), and no folder (/models/mine)."
        )
    return found
