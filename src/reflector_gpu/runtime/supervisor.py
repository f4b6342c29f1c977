"""One worker's thread: keeps a process alive, feeds it batches, and loses no job.

A batch whose worker dies runs once more on a new one; if that dies too, the batch is halved until
the one bad item is found, and only that item fails.
"""

from __future__ import annotations

import logging
import threading
import time
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, cast

from reflector_gpu.errors import EngineFailed, ReflectorError, ShuttingDown
from reflector_gpu.runtime.queue import BatchQueue, Job
from reflector_gpu.runtime.worker import Abandoned, Recipe, Worker, WorkerDied

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
_Outcome: TypeAlias = "Result | ReflectorError"


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """``workers`` processes; a batch may take ``base_timeout + cost * timeout_per_cost`` seconds.

    ``replace_abandoned``: kill a worker whose whole batch nobody waits for any more. A worker
    that does not load is tried again after ``first_backoff`` seconds, twice that, and so on.
    """

    workers: int = 1
    max_batch: int = 1
    max_batch_cost: float = float("inf")
    base_timeout: float = 60.0
    timeout_per_cost: float = 10.0
    replace_abandoned: bool = False
    first_backoff: float = 0.5
    longest_backoff: float = 30.0


class Roster:
    """Which workers of a pool can work, and why the others can not. Thread-safe."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._changed = threading.Condition()
        self._ready = 0
        self._error: ReflectorError | None = None

    @property
    def ready(self) -> int:
        return self._ready

    @property
    def error(self) -> ReflectorError | None:
        """Why no worker loads, while none does. Whoever raises it has a copy of his own."""
        return None if self._ready else copy(self._error)

    def joined(self) -> None:
        with self._changed:
            self._ready += 1
            self._error = None
            self._changed.notify_all()

    def left(self) -> None:
        with self._changed:
            self._ready -= 1
            self._changed.notify_all()

    def failed(self, error: ReflectorError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.closing.set()
            self._changed.notify_all()

    def wait_settled(self, timeout: float | None) -> None:
        """Until a worker is ready, or none can be."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ready > 0 or self._error is not None or self.closing.is_set(),
                timeout,
            )


class Supervisor(Generic[Item, Result]):
    def __init__(
        self,
        name: str,
        recipe: Recipe,
        options: PoolOptions,
        queue: BatchQueue[Item, Result],
        roster: Roster,
    ) -> None:
        self._name = name
        self._recipe = recipe
        self._options = options
        self._queue = queue
        self._roster = roster
        self._worker: Worker | None = None

    def run(self) -> None:
        """Work until the queue is closed and empty."""
        try:
            while self._ensure_worker() and (batch := self._queue.take()) is not None:
                for job, outcome in zip(batch, self._outcomes(batch), strict=True):
                    if isinstance(outcome, ReflectorError):
                        job.future.set_exception(outcome)
                    else:
                        job.future.set_result(outcome)
        finally:
            if self._worker is not None:
                self._worker.stop()
                self._drop_worker()

    def _ensure_worker(self) -> bool:
        """Have a living worker, however often loading fails; False when the pool is closing."""
        backoff = self._options.first_backoff
        while self._load(backoff) and not self._roster.closing.is_set():
            self._roster.closing.wait(backoff)
            backoff = min(2 * backoff, self._options.longest_backoff)
        return self._worker is not None

    def _load(self, backoff: float) -> ReflectorError | None:
        """Have a living worker, or tell why there is none; the next try is ``backoff`` away."""
        if self._worker is not None:
            return None
        if self._roster.closing.is_set():
            return _shutting_down()
        started = time.monotonic()
        try:
            self._worker = Worker(self._recipe, abandoned=self._roster.closing.is_set)
        except Abandoned:
            return _shutting_down()
        except (WorkerDied, OSError) as death:
            error: ReflectorError = EngineFailed(
                f"Model '{self._name}' died while loading: {death}.", retry_after=backoff
            )
        except ReflectorError as failure:
            error = failure
        else:
            took = time.monotonic() - started
            logger.info("%s: worker %s ready in %.1f s", self._name, self._worker.pid, took)
            self._roster.joined()
            return None
        logger.error("%s: %s Next try in %.1f s.", self._name, error.message, backoff)
        self._roster.failed(error)
        if not self._roster.ready:
            fail_all(self._queue.drain(), error)
        return error

    def _drop_worker(self) -> None:
        self._worker = None
        self._roster.left()

    def _outcomes(self, batch: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        """A result or an error for each job, whatever happens to the worker."""
        for _attempt in range(2):
            if error := self._load(self._options.first_backoff):
                return [copy(error) for _ in batch]
            try:
                return self._run(batch)
            except Abandoned:
                logger.info("%s: worker ended, nobody waits for its batch", self._name)
                self._drop_worker()
                return [EngineFailed("Nobody waits for this result.") for _ in batch]
            except WorkerDied as death:
                logger.error("%s: worker died on %d items: %s", self._name, len(batch), death)
                self._drop_worker()
            except ReflectorError as failure:
                if len(batch) == 1:
                    return [failure]
                break
        else:
            if len(batch) == 1:
                return [EngineFailed("The engine died twice on this piece of audio.")]
        middle = len(batch) // 2
        return self._outcomes(batch[:middle]) + self._outcomes(batch[middle:])

    def _run(self, batch: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        assert self._worker is not None
        cost = sum(job.cost for job in batch)
        replies = self._worker.run(
            [job.item for job in batch],
            batch[0].group,
            timeout=self._options.base_timeout + self._options.timeout_per_cost * cost,
            abandoned=lambda: (
                (self._options.replace_abandoned or self._roster.closing.is_set())
                and all(job.abandoned for job in batch)
            ),
        )
        return cast("list[_Outcome[Result]]", list(replies))


def fail_all(jobs: list[Job[Item, Result]], error: ReflectorError) -> None:
    """Answer ``jobs`` with ``error``; those given up meanwhile are dropped."""
    for job in jobs:
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(copy(error))


def _shutting_down() -> ReflectorError:
    return ShuttingDown("The service is shutting down.")
