"""Every catalog of models, by what users call a model of it: one line for each capability."""

from __future__ import annotations

from collections.abc import Mapping

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.completion.catalog import COMPLETERS
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.recognition.catalog import RECOGNISERS
from reflector_gpu.engines.translation.catalog import TRANSLATORS

CATALOGS: Mapping[str, Catalog[AnyModel]] = {
    catalog.capability.kind: catalog
    for catalog in (RECOGNISERS, DIARIZERS, TRANSLATORS, COMPLETERS)
}
