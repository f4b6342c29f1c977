"""The catalogs of all capabilities, by what users call a model of each: one line a capability."""

from __future__ import annotations

from collections.abc import Mapping

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.completion.base import COMPLETION
from reflector_gpu.engines.completion.catalog import COMPLETERS
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.endpointing.catalog import ENDPOINTERS
from reflector_gpu.engines.recognition.base import RECOGNITION
from reflector_gpu.engines.recognition.catalog import RECOGNISERS
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.settings import Settings

CATALOGS: Mapping[str, Catalog[AnyModel]] = {
    catalog.capability.kind: catalog
    for catalog in (RECOGNISERS, DIARIZERS, TRANSLATORS, COMPLETERS, ENDPOINTERS)
}


def helpers(settings: Settings) -> list[AnyModel]:
    """The configured models that requests do not name: those that diarize, translate, and so on.

    Recognisers are left out, because requests do name them. So is the language model, because it
    may be on another server.

    Raises:
        ConfigurationError: a setting names no model.
    """
    named = (RECOGNITION, COMPLETION)
    catalogs = [catalog for catalog in CATALOGS.values() if catalog.capability not in named]
    return [model for catalog in catalogs for model in catalog.configured(settings)]
