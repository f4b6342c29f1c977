"""What the shell offers when Tab is pressed. Imports stay small, because Tab has to be quick."""

from __future__ import annotations


def recognisers(incomplete: str) -> list[str]:
    """Names of recognisers that begin with what has been typed so far."""
    from reflector_gpu.engines.recognition.catalog import MODELS
    from reflector_gpu.engines.recognition.resolution import AUTO

    return [name for name in (*MODELS, AUTO) if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Names of models of any kind that begin with what has been typed so far."""
    from reflector_gpu.engines.catalogs import CATALOGS

    known = [name for catalog in CATALOGS.values() for name in catalog.models]
    return [name for name in known if name.startswith(incomplete)]
