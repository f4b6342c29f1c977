"""One worker's thread: keeps a worker alive, gives it batches, and answers every job.

What becomes of a batch that fails:

- Its worker crashes or hangs, or the engine refuses the batch as a whole: each half runs by itself,
  and so on, until the item at fault is alone. An item that crashes its worker twice alone fails.
- Its worker is killed from outside, as the kernel does when memory runs out: each half runs by
  itself, because less needs less memory. The first three times that is not an item's fault. At the
  fourth kill in a row an item that is alone fails. A kill that hits other work or a worker that
  loads breaks the row: somebody kills whatever runs. But no item survives more than twelve kills.
- Its worker is elsewhere and dies: the whole batch runs again, up to three times. A call that ends
  early is seldom ended by its items.
- Parts of some results have been sent already: those items fail, because a second run would send
  them twice. The others are a new batch.

When workers are killed one after the other, each new start waits longer than the one before, so
that a machine without memory has time to recover.

A worker whose engine prepares batches is sent the next one while it works on one. If it dies or
fails over the first, the second runs afterwards, as if it had not been sent.

A worker that dies while it waits for work is replaced too. One that has had no work for long is
ended to free its memory, and the next job starts it again.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar, cast

from reflector_gpu.errors import EngineFailed, EngineNotLoaded, ReflectorError, ShuttingDown
from reflector_gpu.runtime.batch import Batch, nothing
from reflector_gpu.runtime.faults import CRASHES, FORGIVEN_KILLS, all_fail, fail_all, fault
from reflector_gpu.runtime.lanes import Lanes
from reflector_gpu.runtime.pace import Pace
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.queue import BatchQueue, Job, padded_cost
from reflector_gpu.runtime.readiness import Readiness
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.runner import Runner, Starter
from reflector_gpu.runtime.watching import BatchDone, PoolWatcher
from reflector_gpu.runtime.worker import Abandoned, Worker, WorkerDied
from reflector_gpu.types import Priority

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
_Outcome: TypeAlias = "Result | ReflectorError"


_NOBODY_WAITS = "Nobody waits for this result."
_FAULT = "The server failed on this piece of work; its log says why."


class Supervisor(Generic[Item, Result]):
    def __init__(
        self,
        name: str,
        recipe: Recipe | Starter,
        options: PoolOptions,
        queue: BatchQueue[Item, Result],
        readiness: Readiness,
        pace: Pace,
        watcher: PoolWatcher,
        *,
        for_live: bool,
    ) -> None:
        self._name = name
        self._recipe = recipe
        self._options = options
        self._queue = queue
        self._readiness = readiness
        self._pace = pace
        self._watcher = watcher
        self._for_live = for_live
        self._ahead: tuple[list[Job[Item, Result]], Batch] | None = None  # sent to be prepared
        self._sent: Batch | None = None  # what the worker already has of the jobs in work
        self._worker: Runner | None = None
        self._failing = False
        self._pause = 0.0  # before the next try to load; 0 once a worker has been given work
        self._pause_after_kill = 0.0  # 0 once a worker has done a batch
        self._last_killed: frozenset[int] = frozenset()  # ids of the jobs that the last kill hit

    def run(self) -> None:
        """Work until the queue is closed and empty."""
        idle = self._options.idle_seconds
        unless = None if self._is_elsewhere else self._worker_is_dead
        _running.add(self)
        try:
            while self._ensure_worker():
                ahead, self._ahead = self._ahead, None
                self._sent = ahead[1] if ahead else None
                batch = ahead[0] if ahead else self._queue.take(idle, unless, self._reserved)
                if batch is None:
                    break
                if not batch and not self._idled():
                    break
                self._answer(batch)
                del batch, ahead  # the next may take a while, and these items belong to clients
        finally:
            for job in self._ahead[0] if self._ahead else ():
                job.future.set_exception(_shutting_down())
            if self._worker is not None:
                self._drop_worker()
            _running.discard(self)

    def end(self) -> None:
        """Kill the worker, whatever it is doing, from any thread. It is not replaced."""
        self._readiness.close()
        self._queue.close()
        if isinstance(self._worker, Worker):
            self._worker.kill()

    def _reserved(self) -> bool:
        """Whether live requests alone are to be taken: others are ready for the rest."""
        return self._for_live and self._readiness.ready > self._options.for_live

    def _answer(self, batch: list[Job[Item, Result]]) -> None:
        for job in batch:
            self._took(job)
        run = self._run_in_lanes if self._has_lanes else self._run
        try:
            outcomes = self._outcomes(batch, run)
        except Exception:  # a bug in this server: clients wait for these jobs and for the next
            logger.exception("%s: a fault of the server ends %d items", self._name, len(batch))
            if self._worker is not None:  # what it does now is not known
                self._drop_worker()
            batch = [job for job in batch if not job.future.done()]
            outcomes = all_fail(batch, EngineFailed(_FAULT))
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, ReflectorError):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)

    def _took(self, job: Job[Item, Result]) -> None:
        self._watcher.waited(self._name, job.priority, job.taken - job.queued)

    @property
    def _is_elsewhere(self) -> bool:
        return not isinstance(self._recipe, Recipe)

    @property
    def _has_lanes(self) -> bool:
        return isinstance(self._recipe, Recipe) and self._recipe.lanes > 1

    def _worker_is_dead(self) -> bool:
        return self._worker is not None and not self._worker.alive

    def _drop_dead(self, death: WorkerDied, when: str) -> None:
        self._log_death(death, when)
        self._drop_worker()

    def _log_death(self, death: WorkerDied, when: str) -> None:
        if self._readiness.closing.is_set():
            return  # it was to end
        # As text: a handler that keeps records would keep alive all that the exception refers to.
        logger.error("%s: worker %s died %s: %s", self._name, death.pid, when, str(death))
        self._watcher.died(self._name)

    def _idled(self) -> bool:
        """Replace the worker if it is dead, or else unload it; False once the queue is closed."""
        assert self._worker is not None
        if self._worker.alive:
            return self._rest(self._worker)
        self._drop_dead(self._worker.death(), "while it waited")
        return True

    def _rest(self, worker: Runner) -> bool:
        """Unload ``worker`` and wait for work; False once the queue is closed."""
        logger.info("%s: worker %s unloaded for want of work", self._name, worker.pid)
        worker.stop()
        self._worker = None
        self._pause = 0.0
        self._readiness.unloaded()
        try:
            return self._queue.wait()
        finally:
            self._readiness.woke()

    def _ensure_worker(self) -> bool:
        """Try until a worker has loaded; False if the pool is closed before."""
        while self._worker is None and not self._readiness.closing.is_set():
            self._readiness.closing.wait(self._pause)
            self._load()
        return self._worker is not None

    def _load(self) -> ReflectorError | None:
        """Start a worker if there is none; the error if that fails.

        A failure sets the pause before the next try, and fails the jobs that wait if no other
        worker of the pool may still load.
        """
        if self._worker is not None:
            return None
        if self._readiness.closing.is_set():
            return _shutting_down()
        self._pause = self._longer(self._pause)
        started = time.monotonic()
        try:
            self._worker = self._new_worker()
        except Abandoned:
            return _shutting_down()
        except (WorkerDied, OSError) as death:
            error: ReflectorError = EngineNotLoaded(
                f"Model '{self._name}' died while loading: {death}.", retry_after=self._pause
            )
        except EngineFailed as failure:  # here it is about all work, not about a piece of it
            error = EngineNotLoaded(failure.message, retry_after=failure.retry_after)
        except ReflectorError as failure:
            error = failure
        else:
            took = time.monotonic() - started
            logger.info("%s: worker %s ready in %.1f s", self._name, self._worker.pid, took)
            self._watcher.loaded(self._name, took)
            self._readiness.joined()
            if self._failing:
                self._readiness.recovered()
                self._failing = False
            return None
        logger.error("%s: %s Next try in %.1f s.", self._name, error.message, self._pause)
        if not self._failing:
            self._readiness.failed(error)
            self._failing = True
        if self._readiness.error:
            fail_all(self._queue.drain(), error)
        return error

    def _new_worker(self) -> Runner:
        """A loaded worker. One that crashes while loading is started once more, one that is killed
        from outside three times."""
        closing = self._readiness.closing.is_set
        crashes = kills = 0
        while True:
            try:
                return _started(self._recipe, closing)
            except WorkerDied as death:
                kills += death.from_outside
                crashes += not death.from_outside
                if kills > FORGIVEN_KILLS or crashes >= CRASHES:
                    raise
                self._log_death(death, "while loading")
                if death.from_outside:
                    self._last_killed = frozenset()
                    self._recover()

    def _count_kill(self, jobs: Sequence[Job[Item, Result]]) -> None:
        for job in jobs:
            again = id(job) in self._last_killed
            job.killed += 1
            job.killed_in_a_row = 1 + (job.killed_in_a_row if again else 0)
        self._last_killed = frozenset(map(id, jobs))

    def _recover(self) -> None:
        """After a kill, wait before a worker is started; longer if kills follow each other."""
        self._readiness.closing.wait(self._pause_after_kill)
        self._pause_after_kill = self._longer(self._pause_after_kill)

    def _longer(self, pause: float) -> float:
        return min(max(self._options.first_backoff, 2 * pause), self._options.longest_backoff)

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()  # even a dead one holds memory and a pipe on this side
        self._worker = None
        self._readiness.left()

    def _outcomes(
        self,
        jobs: list[Job[Item, Result]],
        run: Callable[[list[Job[Item, Result]]], list[_Outcome[Result]]],
    ) -> list[_Outcome[Result]]:
        """A result or an error for each of ``jobs``, whatever happens to the worker.

        ``run`` may answer some of them itself, and take others: it changes ``jobs`` accordingly.
        """
        if self._sent is None and all(job.abandoned for job in jobs):
            return all_fail(jobs, EngineFailed(_NOBODY_WAITS))
        if error := self._load():
            return all_fail(jobs, error)
        try:
            return run(jobs)
        except Abandoned:
            logger.info("%s: worker ended, nobody waits for its batch", self._name)
            self._drop_worker()
            return all_fail(jobs, EngineFailed(_NOBODY_WAITS))
        except WorkerDied as death:
            self._drop_dead(death, f"on {len(jobs)} items")
            if any(job.begun for job in jobs):
                return self._without_begun(jobs)
            whole = len(jobs) == 1 or self._is_elsewhere
            if death.from_outside:
                self._count_kill(jobs)
            elif whole:
                for job in jobs:
                    job.crashed += 1
            if whole and (at_fault := fault(jobs)):
                return all_fail(jobs, at_fault)
            if death.from_outside:
                self._recover()
            if whole:
                return self._outcomes(jobs, self._run)
        except ReflectorError as failure:
            if len(jobs) == 1:
                return [failure]
            if any(job.begun for job in jobs):
                return self._without_begun(jobs)
        middle = len(jobs) // 2
        halves = jobs[:middle], jobs[middle:]
        return [one for half in halves for one in self._outcomes(half, self._run)]

    def _without_begun(self, jobs: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        """`_outcomes` of a failed batch: jobs that gave parts of their results fail, others run."""
        begun = [job.begun for job in jobs]
        others = iter(self._outcomes([job for job in jobs if not job.begun], self._run))
        message = "The engine failed in the middle of this answer."
        return [EngineFailed(message) if one else next(others) for one in begun]

    def _run(self, jobs: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        assert self._worker is not None
        self._pause = 0.0
        batch, self._sent = self._sent or self._batch(jobs), None
        began = time.monotonic()
        replies = self._worker.run(batch)
        seconds = time.monotonic() - began
        self._pause_after_kill = 0.0
        done = BatchDone(items=len(jobs), room=self._options.max_batch, seconds=seconds)
        self._watcher.worked(self._name, done)
        if any(job.priority is Priority.FILE for job in jobs):
            self._pace.worked(len(jobs), padded_cost(jobs), seconds)
        return cast("list[_Outcome[Result]]", list(replies))

    def _batch(self, jobs: list[Job[Item, Result]]) -> Batch:
        prepares = isinstance(self._recipe, Recipe) and self._recipe.prepares and not self._for_live
        return Batch(
            items=[job.item for job in jobs],
            options=jobs[0].group,
            timeout=self._timeout(sum(job.cost for job in jobs)),
            abandoned=lambda: self._given_up(jobs),
            given_up=lambda: [i for i, job in enumerate(jobs) if job.abandoned],
            meanwhile=partial(self._look_ahead, jobs) if prepares else nothing,
            listeners={i: job.hear for i, job in enumerate(jobs) if job.listener},
        )

    def _look_ahead(self, running: list[Job[Item, Result]]) -> None:
        """Send the worker the next batch to prepare, if enough waits."""
        if self._ahead is not None or not isinstance(self._worker, Worker):
            return
        if jobs := self._queue.take_ahead(running):
            self._ahead = jobs, self._batch(jobs)
            self._worker.prepare(self._ahead[1])

    def _run_in_lanes(self, jobs: list[Job[Item, Result]]) -> list[_Outcome[Result]]:
        """`_run` for a worker with lanes, which answers its jobs itself."""
        assert isinstance(self._worker, Worker)
        self._pause = 0.0
        lanes = Lanes(self._queue, self._pace, self._timeout, self._took, self._worked_in_lane)
        lanes.work(self._worker, jobs, lambda: self._given_up(jobs))
        return []

    def _worked_in_lane(self, seconds: float) -> None:
        self._pause_after_kill = 0.0
        self._watcher.worked(self._name, BatchDone(items=1, room=1, seconds=seconds))

    def _timeout(self, cost: float) -> float:
        return self._options.base_timeout + self._options.timeout_per_cost * cost

    def _given_up(self, jobs: Sequence[Job[Item, Result]]) -> bool:
        """Whether the worker should end, because nobody waits for what it does."""
        may_end = self._options.replace_abandoned or self._readiness.closing.is_set()
        return may_end and all(job.abandoned for job in jobs)


_running: set[Supervisor[Any, Any]] = set()


@atexit.register
def _end_all() -> None:
    """End all workers, because a program that has left a pool open would wait for them for ever."""
    for supervisor in list(_running):
        supervisor.end()


def _started(recipe: Recipe | Starter, closing: Callable[[], bool]) -> Runner:
    if isinstance(recipe, Recipe):
        return Worker(recipe, abandoned=closing)
    return recipe.start(closing)


def _shutting_down() -> ReflectorError:
    return ShuttingDown("The service is shutting down.")
