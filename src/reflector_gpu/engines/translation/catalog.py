"""All translators that have a name."""

from __future__ import annotations

from pathlib import Path

from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.translation import apertium, neural
from reflector_gpu.engines.translation.base import TRANSLATION, TranslatorModel


def _composed(name: str) -> TranslatorModel | None:
    """The OPUS-MT of a pair, or the translator in a folder.

    Raises:
        ConfigurationError: the folder holds none.
    """
    return neural.local(Path(name)) if "/" in name else neural.opus(name)


TRANSLATORS = Catalog(
    capability=TRANSLATION,
    setting="translator",
    models={model.name: model for model in (*apertium.MODELS, *neural.MODELS)},
    compose=_composed,
    hint=", no OPUS-MT of a pair (opus-mt-en-fr), and no folder (/models/mine)",
)
