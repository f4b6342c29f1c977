"""Every diarizer the service knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reflector_gpu.engines.base import DiarizerModel
from reflector_gpu.engines.diarization import bic, pyannote, segmentation
from reflector_gpu.errors import ConfigurationError

DIARIZERS: Mapping[str, DiarizerModel] = {
    model.name: model for model in (*segmentation.MODELS, *pyannote.MODELS, *bic.MODELS)
}

ALIASES: Mapping[str, str] = pyannote.ALIASES


def own_diarizers(folders: Mapping[str, str]) -> Mapping[str, DiarizerModel]:
    """Those in an operator's ``folders`` (name to folder), which may well hold something else."""
    found = (
        local(name, Path(folder))
        for name, folder in folders.items()
        for local in (segmentation.local, pyannote.local)
    )
    return {model.name: model for model in found if model}


def diarizer_of(name: str, folders: Mapping[str, str] | None = None) -> DiarizerModel:
    """The diarizer that an operator means, who may have some in ``folders`` of the own.

    Raises:
        ConfigurationError: there is none of this name.
    """
    known = {**DIARIZERS, **own_diarizers(folders or {})}
    if (target := name if name in known else ALIASES.get(name)) is None:
        raise ConfigurationError(f"REFLECTOR_DIARIZER: '{name}' is none of {', '.join(known)}.")
    return known[target]
