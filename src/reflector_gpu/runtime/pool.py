"""The workers of one model behind one `submit`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

from reflector_gpu.errors import EngineLoading, ReflectorError, ShuttingDown
from reflector_gpu.runtime.queue import BatchQueue, Job
from reflector_gpu.runtime.supervisor import PoolOptions, Roster, Supervisor, fail_all
from reflector_gpu.runtime.worker import Recipe
from reflector_gpu.types import Priority

Item = TypeVar("Item")
Result = TypeVar("Result")


class PoolState(Enum):
    """A pool that has ``FAILED`` keeps trying; submitting to it raises why it failed."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


class Pool(Generic[Item, Result]):
    """Workers that share one queue. `start` it, `submit` from the event loop, `close` it."""

    def __init__(self, name: str, recipe: Recipe, options: PoolOptions) -> None:
        self.name = name
        self.options = options
        self._queue: BatchQueue[Item, Result] = BatchQueue(
            max_batch=options.max_batch, max_cost=options.max_batch_cost
        )
        self._roster = Roster()
        self._threads = [
            threading.Thread(
                target=Supervisor(name, recipe, options, self._queue, self._roster).run,
                name=f"{name}-{number}",
                daemon=True,
            )
            for number in range(options.workers)
        ]
        self._started = False

    @property
    def state(self) -> PoolState:
        if self._roster.closing.is_set():
            return PoolState.CLOSED
        if self._roster.ready:
            return PoolState.READY
        return PoolState.FAILED if self._roster.error else PoolState.LOADING

    @property
    def error(self) -> ReflectorError | None:
        """Why the pool failed, while it has."""
        return self._roster.error

    @property
    def workers_ready(self) -> int:
        return self._roster.ready

    @property
    def waiting(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to load, in the background. Safe to call twice."""
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def wait_ready(self, timeout: float | None = None) -> None:
        """Block until a worker can work.

        Raises:
            ReflectorError: the engine can not load, or ``timeout`` seconds passed.
        """
        self._roster.wait_settled(timeout)
        if self._roster.closing.is_set():
            raise ShuttingDown("The service is shutting down.")
        if error := self._roster.error:
            raise error
        if not self._roster.ready:
            raise EngineLoading(f"Model '{self.name}' is still loading.")

    async def submit(
        self, item: Item, group: Hashable, *, cost: float, priority: Priority
    ) -> Result:
        """Have ``item`` worked on, in a batch with others of the same ``group`` (its options).

        Cancelling the caller drops the job.

        Raises:
            ReflectorError: the item failed, or the engine can not work at present.
        """
        if error := self._roster.error:
            raise error
        job: Job[Item, Result] = Job(item, group, cost, priority)
        self._queue.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.abandon()
            raise

    def close(self) -> None:
        """Stop the workers; what waits fails with `ShuttingDown`."""
        self._roster.close()
        self._queue.close()
        fail_all(self._queue.drain(), ShuttingDown("The service is shutting down."))
        if self._started:
            for thread in self._threads:
                thread.join()
