"""Items side by side on one worker, whose engine may be called by several threads.

A batch ends as a whole, and whoever comes meanwhile waits for its end. A lane takes the next item
as soon as it is free. While live requests keep coming in, long files leave one lane to them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar, cast

from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.runtime.pace import Pace
from reflector_gpu.runtime.queue import BatchQueue, Job
from reflector_gpu.runtime.worker import Abandoned, Worker
from reflector_gpu.types import Priority

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Running(NamedTuple, Generic[Item, Result]):
    job: Job[Item, Result]
    began: float
    deadline: float


class Lanes(Generic[Item, Result]):
    """What the lanes of a worker do. ``taken`` is told each job that joins those given to `work`,
    and ``answered`` how many seconds each job took."""

    def __init__(
        self,
        queue: BatchQueue[Item, Result],
        pace: Pace,
        timeout: Callable[[float], float],
        taken: Callable[[Job[Item, Result]], None],
        answered: Callable[[float], None],
    ) -> None:
        """``timeout`` gives the seconds that an item of some cost may take."""
        self._queue = queue
        self._pace = pace
        self._timeout = timeout
        self._taken = taken
        self._answered = answered

    def work(
        self, worker: Worker, jobs: list[Job[Item, Result]], abandoned: Callable[[], bool]
    ) -> None:
        """Answer ``jobs``, and others from the queue as lanes become free, until none is left.

        Those that are answered leave ``jobs``, and the others join it. So if this raises, ``jobs``
        has those that are left.

        Raises:
            WorkerDied: the process died, or an item took too long; the process is gone.
            Abandoned: ``abandoned()`` turned true, and the process is gone.
        """
        free = list(range(worker.lanes))
        running: dict[int, _Running[Item, Result]] = {}
        given = deque(jobs)
        with self._queue.ringing(worker.ring):
            while True:
                while free and (job := given.popleft() if given else self._another(worker, jobs)):
                    try:
                        worker.begin(free[-1], job.item, job.group)
                    except EngineFailed as failure:
                        self._answer(jobs, job, failure)
                        continue
                    now = time.monotonic()
                    running[free.pop()] = _Running(job, now, now + self._timeout(job.cost))
                if not running:
                    return
                if abandoned():
                    worker.kill()
                    raise Abandoned
                first = min(one.deadline for one in running.values())
                ended = worker.next_end(max(0.0, first - time.monotonic()))
                if ended is not None:
                    lane, outcome = ended
                    done = running.pop(lane)
                    free.append(lane)
                    self._answered(time.monotonic() - done.began)
                    self._answer(jobs, done.job, outcome)
                    del done, outcome  # the next news may take a while, and these belong to clients

    def _another(self, worker: Worker, jobs: list[Job[Item, Result]]) -> Job[Item, Result] | None:
        files = sum(job.priority is Priority.FILE for job in jobs)
        room = worker.lanes - (1 if worker.lanes > 1 and self._pace.contested else 0)
        job = self._queue.take_one(files=files < room)
        if job is not None:
            jobs.append(job)
            self._taken(job)
        return job

    def _answer(
        self, jobs: list[Job[Item, Result]], job: Job[Item, Result], outcome: object
    ) -> None:
        jobs.remove(job)
        if isinstance(outcome, ReflectorError):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(cast("Result", outcome))
