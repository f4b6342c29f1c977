"""The workers of one model behind one `submit`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Generic, TypeVar

from reflector_gpu.errors import EngineLoading, ReflectorError, ShuttingDown
from reflector_gpu.runtime.faults import fail_all
from reflector_gpu.runtime.pace import Pace
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.queue import BatchQueue, Job
from reflector_gpu.runtime.readiness import Readiness
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.runner import Starter
from reflector_gpu.runtime.supervisor import Supervisor
from reflector_gpu.runtime.watching import NOBODY, PoolWatcher
from reflector_gpu.stages import Done, tell
from reflector_gpu.types import Priority

Item = TypeVar("Item")
Result = TypeVar("Result")


class PoolState(Enum):
    """A pool that has ``FAILED`` keeps trying; submitting to it raises why it failed.

    One that is ``IDLE`` has unloaded its model until the next job, which it does not refuse.
    """

    LOADING = "loading"
    READY = "ready"
    IDLE = "idle"
    FAILED = "failed"
    CLOSED = "closed"


class Pool(Generic[Item, Result]):
    """Workers that share one queue, so that whichever is free takes what is next.

    `start` it, `submit` from the event loop, `close` it.
    """

    def __init__(
        self,
        name: str,
        recipes: Sequence[Recipe | Starter],
        options: PoolOptions,
        watcher: PoolWatcher = NOBODY,
    ) -> None:
        """One worker for each of ``recipes``, which differ at most in where they run."""
        self.name = name
        self._stage = options.stage
        # Where workers are kept for live requests, these do not wait for batches of files.
        pace = Pace(interruptible=options.interruptible and not options.for_live)
        self._queue: BatchQueue[Item, Result] = BatchQueue(
            max_batch=options.max_batch,
            max_cost=options.max_batch_cost,
            max_live_cost=options.max_live_cost,
            pace=pace,
        )
        self._readiness = Readiness(len(recipes))
        self._threads = [
            threading.Thread(
                target=Supervisor(
                    name,
                    recipe,
                    options,
                    self._queue,
                    self._readiness,
                    pace,
                    watcher,
                    for_live=number >= len(recipes) - options.for_live,
                ).run,
                name=f"{name}-{number}",
                daemon=True,
            )
            for number, recipe in enumerate(recipes)
        ]
        self._started = False

    @property
    def state(self) -> PoolState:
        if self._readiness.closing.is_set():
            return PoolState.CLOSED
        if self._readiness.ready:
            return PoolState.READY
        if self._readiness.idle:
            return PoolState.IDLE
        return PoolState.FAILED if self._readiness.error else PoolState.LOADING

    @property
    def error(self) -> ReflectorError | None:
        """Why the pool failed, while it has."""
        return self._readiness.error

    @property
    def workers(self) -> int:
        return len(self._threads)

    @property
    def workers_ready(self) -> int:
        return self._readiness.ready

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
        """Block until a worker can work, or would if there were work.

        Raises:
            ReflectorError: the engine cannot load, or ``timeout`` seconds passed.
        """
        self._readiness.wait_settled(timeout)
        self._check()

    async def ready(self, patience: float) -> None:
        """`wait_ready` for an event loop; ``patience`` in seconds."""
        if not self._readiness.settled:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._settled()
        self._check()

    async def _settled(self) -> None:
        while not self._readiness.settled:
            change = self._readiness.next_change()
            if not self._readiness.settled:  # it may have changed in between
                await asyncio.wrap_future(change)

    def _check(self) -> None:
        if self._readiness.closing.is_set():
            raise ShuttingDown("The service is shutting down.")
        if error := self._readiness.error:
            raise error
        if not (self._readiness.ready or self._readiness.idle):
            raise EngineLoading(f"Model '{self.name}' is still loading.")

    async def submit(
        self,
        item: Item,
        group: Hashable,
        *,
        cost: float,
        priority: Priority,
        listener: Callable[[object], None] | None = None,
        waited: Callable[[float], None] | None = None,
    ) -> Result:
        """Have ``item`` worked on, in a batch with others of the same ``group`` (its options).

        ``listener`` is told, in the event loop, the parts of the result that an engine gives
        ahead of it; once it was, the item is not run again if the engine dies. Cancelling the
        caller drops the job. ``waited`` is told, in a thread of the pool that must not be held up,
        for how many seconds the item waited until a worker took it.

        Raises:
            ReflectorError: the item failed, or the engine cannot work at present.
        """
        heard = listener and partial(_in_loop, asyncio.get_running_loop(), listener)
        job = self.put(item, group, cost=cost, priority=priority, listener=heard, waited=waited)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.abandon()
            raise
        finally:
            self._report(job)

    def _report(self, job: Job[Item, Result]) -> None:
        """Report where this job has spent its time, for metrics and traces."""
        now, about = time.monotonic(), {"model": self.name}
        taken = job.taken or now
        tell(
            Done(stage="queue", began=job.queued, ended=taken, busy=taken - job.queued, about=about)
        )
        if job.taken:
            tell(
                Done(
                    stage=self._stage,
                    began=taken,
                    ended=now,
                    busy=now - taken,
                    about=about,
                    failed=not _answered(job.future),
                )
            )

    def put(
        self,
        item: Item,
        group: Hashable,
        *,
        cost: float,
        priority: Priority,
        listener: Callable[[object], None] | None = None,
        waited: Callable[[float], None] | None = None,
    ) -> Job[Item, Result]:
        """`submit` for threads: the job has the result once it is there.

        ``listener`` is told in a thread of the pool.

        Raises:
            ReflectorError: the engine cannot work at present.
        """
        if error := self._readiness.error:
            raise error
        job: Job[Item, Result] = Job(item, group, cost, priority, listener=listener, waited=waited)
        self._queue.put(job)
        return job

    def close(self) -> None:
        """Stop the workers; what waits fails with `ShuttingDown`."""
        self._readiness.close()
        self._queue.close()
        fail_all(self._queue.drain(), ShuttingDown("The service is shutting down."))
        if self._started:
            for thread in self._threads:
                thread.join()


def _answered(future: Future[Result]) -> bool:
    return future.done() and not future.cancelled() and not future.exception()


def _in_loop(
    loop: asyncio.AbstractEventLoop, listener: Callable[[object], None], part: object
) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody listens any more
        loop.call_soon_threadsafe(listener, part)
