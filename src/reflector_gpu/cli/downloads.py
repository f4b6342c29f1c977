"""Weights that a command needs, downloaded while it waits."""

from __future__ import annotations

import sys

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.weights import size
from reflector_gpu.settings import Settings


def download(model: AnyModel, settings: Settings) -> None:
    """Download the weights of ``model``, with a progress bar.

    Raises:
        ReflectorError: no source has them, or there is no room.
    """
    if model.weights:
        sys.stderr.write(f"Downloading {model.name}: {size(model.weights.megabytes)}, once\n")
        model.weights.pull(settings.weights_sources)
