"""What the shell offers when Tab is pressed; imports only what that takes."""

from __future__ import annotations


def recognisers(incomplete: str) -> list[str]:
    """Names that begin with what has been typed so far."""
    from reflector_gpu.engines.recognition.catalog import MODELS
    from reflector_gpu.engines.recognition.resolution import AUTO

    return [name for name in (*MODELS, AUTO) if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """The same of models of every kind."""
    from reflector_gpu.engines.catalogs import CATALOGS

    known = [name for catalog in CATALOGS.values() for name in catalog.models]
    return [name for name in known if name.startswith(incomplete)]
