"""One worker's thread: keeps a process alive, feeds it batches, and loses no job.

A batch whose worker dies runs once more on a new one; if that dies too, the batch is halved until
the one bad item is found, and only that item fails. So does a batch that the engine refuses as a
whole, for want of memory perhaps. One whose worker is elsewhere is tried again after a pause,
and not halved for a second death: what ends a call is seldom what the call is about. An item of
which parts have been told already is not run again: its listener would hear them twice. A worker
that dies while it waits is replaced as well. One without work for long enough is ended, to free its
memory, and started again for the next job, which waits for it in the queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, cast

from reflector_gpu.errors import EngineFailed, ReflectorError, ShuttingDown
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.pace import Pace
from reflector_gpu.runtime.queue import BatchQueue, Job, padded_cost
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.roster import Roster
from reflector_gpu.runtime.worker import Abandoned, Worker, WorkerDied
from reflector_gpu.types import Priority

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
_Outcome: TypeAlias = "Result | ReflectorError"


class Runner(Protocol):
    """What runs batches: a `Worker` here, or one that is elsewhere. Used by one thread at a time.

    Its methods do what those of `Worker` do.
    """

    @property
    def pid(self) -> int | None: ...
    @property
    def alive(self) -> bool: ...
    def run(self, batch: Batch) -> Sequence[object]: ...
    def stop(self) -> None: ...
    def death(self) -> WorkerDied: ...


class Starter(Protocol):
    """The way to a worker that is elsewhere, where a `Recipe` makes one here."""

    def start(self, abandoned: Callable[[], bool]) -> Runner:
        """One whose engine is loaded, or will be when it is needed. Raises what `Worker` does."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """A batch may take ``base_timeout + cost * timeout_per_cost`` seconds.

    ``interruptible``: live work and that of long files share the workers, so the batches of the
    latter are kept short.
    ``replace_abandoned``: kill a worker whose whole batch nobody waits for any more. Workers
    are unloaded after ``idle_seconds`` without work. A worker that does not load, or dies before
    it has done anything, is tried again after ``first_backoff`` seconds, twice that, and so on.
    """

    max_batch: int = 1
    max_batch_cost: float = float("inf")
    interruptible: bool = True
    base_timeout: float = 60.0
    timeout_per_cost: float = 10.0
    replace_abandoned: bool = False
    idle_seconds: float | None = None
    first_backoff: float = 0.5
    longest_backoff: float = 30.0


class Supervisor(Generic[Item, Result]):
    def __init__(
        self,
        name: str,
        recipe: Recipe | Starter,
        options: PoolOptions,
        queue: BatchQueue[Item, Result],
        roster: Roster,
        pace: Pace,
    ) -> None:
        self._name = name
        self._recipe = recipe
        self._options = options
        self._queue = queue
        self._roster = roster
        self._pace = pace
        self._worker: Runner | None = None
        self._failing = False
        self._pause = 0.0  # before a new worker; none after one that was given work

    def run(self) -> None:
        """Work until the queue is closed and empty."""
        idle = self._options.idle_seconds
        unless = None if self._is_elsewhere else self._worker_is_dead
        try:
            while self._ensure_worker():
                batch = self._queue.take(idle, unless)
                if batch is None:
                    break
                if not batch and not self._idled():
                    break
                for job, outcome in zip(batch, self._outcomes(batch), strict=True):
                    if isinstance(outcome, ReflectorError):
                        job.future.set_exception(outcome)
                    else:
                        job.future.set_result(outcome)
        finally:
            if self._worker is not None:
                self._drop_worker()

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the worker is no process of ours, which nobody has to look after."""
        return not isinstance(self._recipe, Recipe)

    def _worker_is_dead(self) -> bool:
        return self._worker is not None and not self._worker.alive

    def _bury(self, death: WorkerDied, when: str) -> None:
        self._tell(death, when)
        self._drop_worker()

    def _tell(self, death: WorkerDied, when: str) -> None:
        how = str(death)  # who keeps log records would keep all that the exception refers to
        logger.error("%s: worker %s died %s: %s", self._name, death.pid, when, how)

    def _idled(self) -> bool:
        """Replace the worker if it died, else let it rest; False when there will be no work."""
        assert self._worker is not None
        if self._worker.alive:
            return self._rest(self._worker)
        self._bury(self._worker.death(), "while it waited")
        return True

    def _rest(self, worker: Runner) -> bool:
        """Free what ``worker`` takes until there is work again; False when there will be none."""
        logger.info("%s: worker %s unloaded for want of work", self._name, worker.pid)
        worker.stop()
        self._worker = None
        self._pause = 0.0
        self._roster.rests()
        try:
            return self._queue.wait()
        finally:
            self._roster.wakes()

    def _ensure_worker(self) -> bool:
        """Have a living worker, however often loading fails; False when the pool is closing."""
        while self._worker is None and not self._roster.closing.is_set():
            self._roster.closing.wait(self._pause)
            self._load()
        return self._worker is not None

    def _load(self) -> ReflectorError | None:
        """Have a living worker, or tell why there is none; the next try is a pause away."""
        if self._worker is not None:
            return None
        if self._roster.closing.is_set():
            return _shutting_down()
        shortest, longest = self._options.first_backoff, self._options.longest_backoff
        self._pause = min(max(shortest, 2 * self._pause), longest)
        started = time.monotonic()
        try:
            self._worker = self._new_worker()
        except Abandoned:
            return _shutting_down()
        except (WorkerDied, OSError) as death:
            error: ReflectorError = EngineFailed(
                f"Model '{self._name}' died while loading: {death}.", retry_after=self._pause
            )
        except ReflectorError as failure:
            error = failure
        else:
            took = time.monotonic() - started
            logger.info("%s: worker %s ready in %.1f s", self._name, self._worker.pid, took)
            self._roster.joined()
            if self._failing:
                self._roster.recovers()
                self._failing = False
            return None
        logger.error("%s: %s Next try in %.1f s.", self._name, error.message, self._pause)
        if not self._failing:
            self._roster.fails(error)
            self._failing = True
        if self._roster.error:  # else another worker may still load
            fail_all(self._queue.drain(), error)
        return error

    def _new_worker(self) -> Runner:
        """One that dies while loading gets a second chance: something else may have killed it."""
        closing = self._roster.closing.is_set
        try:
            return _started(self._recipe, closing)
        except WorkerDied as death:
            self._tell(death, "while loading")
        return _started(self._recipe, closing)

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()  # frees what it holds here, dead or not
        self._worker = None
        self._roster.left()

    def _outcomes(self, batch: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        """A result or an error for each job, whatever happens to the worker."""
        if not batch:
            return []
        for attempt in range(2):
            if attempt and self._is_elsewhere:
                self._roster.closing.wait(self._options.first_backoff)
            if all(job.abandoned for job in batch):
                return [EngineFailed("Nobody waits for this result.") for _ in batch]
            if error := self._load():
                return [copy(error) for _ in batch]
            try:
                return self._run(batch)
            except Abandoned:
                logger.info("%s: worker ended, nobody waits for its batch", self._name)
                self._drop_worker()
                return [EngineFailed("Nobody waits for this result.") for _ in batch]
            except WorkerDied as death:
                self._bury(death, f"on {len(batch)} items")
                if any(job.begun for job in batch):
                    return self._without_begun(batch)
            except ReflectorError as failure:
                if len(batch) == 1:
                    return [failure]
                if any(job.begun for job in batch):
                    return self._without_begun(batch)
                break
        else:
            if len(batch) == 1 or self._is_elsewhere:
                message = "The engine died twice on this piece of work."
                return [EngineFailed(message) for _ in batch]
        middle = len(batch) // 2
        return self._outcomes(batch[:middle]) + self._outcomes(batch[middle:])

    def _without_begun(self, batch: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        """`_outcomes` of a batch that failed while parts of some results had been told."""
        begun = [job.begun for job in batch]
        again = [job for job in batch if not job.begun]
        outcomes = iter(self._outcomes(again))
        return [
            EngineFailed("The engine failed in the middle of this answer.")
            if broken
            else next(outcomes)
            for broken in begun
        ]

    def _run(self, jobs: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        assert self._worker is not None
        self._pause = 0.0
        cost = sum(job.cost for job in jobs)
        batch = Batch(
            items=[job.item for job in jobs],
            options=jobs[0].group,
            timeout=self._options.base_timeout + self._options.timeout_per_cost * cost,
            abandoned=lambda: (
                (self._options.replace_abandoned or self._roster.closing.is_set())
                and all(job.abandoned for job in jobs)
            ),
            given_up=lambda: [i for i, job in enumerate(jobs) if job.abandoned],
            listeners={i: job.hear for i, job in enumerate(jobs) if job.listener},
        )
        began = time.monotonic()
        replies = self._worker.run(batch)
        if any(job.priority is Priority.FILE for job in jobs):
            self._pace.worked(len(jobs), padded_cost(jobs), time.monotonic() - began)
        return cast("list[_Outcome[Result]]", list(replies))


def fail_all(jobs: list[Job[Item, Result]], error: ReflectorError) -> None:
    """Answer ``jobs`` with ``error``; those given up meanwhile are dropped."""
    for job in jobs:
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(copy(error))


def _started(recipe: Recipe | Starter, closing: Callable[[], bool]) -> Runner:
    if isinstance(recipe, Recipe):
        return Worker(recipe, abandoned=closing)
    return recipe.start(closing)


def _shutting_down() -> ReflectorError:
    return ShuttingDown("The service is shutting down.")
