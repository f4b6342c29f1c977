"""All diarizers that have a name."""

from __future__ import annotations

from pathlib import Path

from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.diarization import bic, pyannet, pyannote, segmentation
from reflector_gpu.engines.diarization.base import DIARIZATION, DiarizerModel


def _local(name: str, folder: Path) -> DiarizerModel | None:
    return segmentation.local(name, folder) or pyannote.local(name, folder)


DIARIZERS = Catalog(
    capability=DIARIZATION,
    setting="diarizer",
    models={
        model.name: model
        for model in (*pyannet.MODELS, *segmentation.MODELS, *pyannote.MODELS, *bic.MODELS)
    },
    aliases=pyannote.ALIASES,
    local=_local,
)
