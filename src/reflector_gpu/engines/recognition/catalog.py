"""All recognisers that have a name.

Reading the catalog imports no engine library: models stand beside their engine classes, and those
import their libraries only in `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.recognition import scripted, sphinx, whisper
from reflector_gpu.engines.recognition.base import RECOGNITION, RecogniserModel
from reflector_gpu.engines.recognition.parakeet import models as parakeet

MODELS: Mapping[str, RecogniserModel] = {
    model.name: model
    for model in (*sphinx.MODELS, *whisper.MODELS, *parakeet.MODELS, *scripted.MODELS)
}


def _local(name: str, folder: Path) -> RecogniserModel | None:
    return whisper.local(name, folder) or parakeet.local(name, folder)


RECOGNISERS = Catalog(capability=RECOGNITION, setting="model", models=MODELS, local=_local)
