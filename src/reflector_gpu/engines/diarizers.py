"""Every diarizer the service knows by name."""

from __future__ import annotations

from collections.abc import Mapping

from reflector_gpu.engines import bic
from reflector_gpu.engines.base import DiarizerModel
from reflector_gpu.errors import ConfigurationError

DIARIZERS: Mapping[str, DiarizerModel] = {model.name: model for model in bic.MODELS}


def diarizer_of(name: str) -> DiarizerModel:
    """The diarizer that an operator means.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if name not in DIARIZERS:
        raise ConfigurationError(f"REFLECTOR_DIARIZER: '{name}' is none of {', '.join(DIARIZERS)}.")
    return DIARIZERS[name]
