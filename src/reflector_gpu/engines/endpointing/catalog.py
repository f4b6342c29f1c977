"""All endpointers that have a name."""

from __future__ import annotations

from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.endpointing import smart_turn
from reflector_gpu.engines.endpointing.base import ENDPOINTING, EndpointerModel

ENDPOINTERS: Catalog[EndpointerModel] = Catalog(
    capability=ENDPOINTING, models={smart_turn.MODEL.name: smart_turn.MODEL}
)
