"""Where turns end: the endpointer, if this machine has one, in a worker of its own."""

from __future__ import annotations

import logging

from reflector_gpu.engines.endpointing.smart_turn import MODEL
from reflector_gpu.errors import ReflectorError, release_frames
from reflector_gpu.runtime.pool import PoolState
from reflector_gpu.service.worker_pools import WorkerPools
from reflector_gpu.types import Priority, Samples

logger = logging.getLogger(__name__)

_SURE = 0.5  # the probability from which a turn is complete


class Endpointing:
    """Asks `MODEL`. It is used where its weights are, and is never downloaded unasked."""

    def __init__(self, workers: WorkerPools) -> None:
        self._workers = workers

    def prepare(self) -> None:
        """Begin to load the endpointer, if there is one: somebody is about to speak."""
        if self._workers.state(MODEL) is None and not self._workers.missing(MODEL):
            self._workers.pool(MODEL)

    async def finished(self, samples: Samples) -> bool | None:
        """Whether somebody who has said ``samples`` has finished; None if that cannot be told."""
        if self._workers.state(MODEL) not in (PoolState.READY, PoolState.IDLE):
            return None
        try:
            pool = self._workers.pool(MODEL)
            wanted = samples[-MODEL.spec.window :]
            return await pool.submit(wanted, None, cost=1, priority=Priority.LIVE) >= _SURE
        except ReflectorError as error:
            release_frames(error)
            logger.warning("whether a turn is complete was not heard: %s", error.message)
            return None
