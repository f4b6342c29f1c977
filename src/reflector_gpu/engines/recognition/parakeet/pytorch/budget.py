"""How much audio a pack may have for the memory of its device."""

from __future__ import annotations

import logging
from typing import Protocol

logger = logging.getLogger(__name__)

_SHARE = 0.6  # of the free memory; the rest is for graphs, and for the engine of live requests
_LEAST = 31.0  # seconds: one chunk of the longest has to fit


class Memory(Protocol):
    """The device, after the model has been loaded."""

    @property
    def free_bytes(self) -> int | None:
        """The free memory there, or None if it does not matter."""

    @property
    def bytes_per_second(self) -> float:
        """What a second of padded audio takes while it is encoded."""


class Budget:
    """The padded ``seconds`` that a pack may have: ``most``, or what fits into ``memory``."""

    def __init__(self, memory: Memory, most: float) -> None:
        free = memory.free_bytes
        fitting = most if free is None else _SHARE * free / memory.bytes_per_second
        self.seconds = max(_LEAST, min(most, fitting))
        self._halved = False

    def halve(self) -> bool:
        """Halve it, because the memory ran out; False if that has been done before.

        A second time, something else takes the memory, and smaller packs would only be slower.
        """
        if self._halved:
            return False
        self._halved = True
        self.seconds = max(_LEAST, self.seconds / 2)
        logger.warning(
            "The GPU ran out of memory: from now on Parakeet takes at most %.0f s of audio at a "
            "time. If another program uses this GPU, give it one of its own.",
            self.seconds,
        )
        return True
