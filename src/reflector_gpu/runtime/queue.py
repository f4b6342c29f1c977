"""Jobs that wait for a worker, handed out as batches.

- No batch waits to be filled: an idle worker takes the jobs that are there.
- Jobs with the same `group` may share a batch.
- The two classes, `Priority.LIVE` and `Priority.FILE`, share the workers by weight (start-time fair
  queueing, Goyal et al. 1996). So live work overtakes long files, but never starves them. Shares
  are measured in cost. Many tiny live jobs take longer than they cost, and leave less to files.
- A batch with work of long files is kept as short as `Pace` says, because live work that arrives
  meanwhile has to wait for it. A batch of live work is not filled up with work of files.
- A worker that is kept for live work leaves files to others.
- A job whose future was cancelled is dropped before it runs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from reflector_gpu.errors import ShuttingDown
from reflector_gpu.runtime.pace import Pace
from reflector_gpu.types import Priority

Item = TypeVar("Item")
Result = TypeVar("Result")

WEIGHTS = {Priority.LIVE: 8.0, Priority.FILE: 1.0}

LOOK_SECONDS = 0.25
"""How often a thread that waits for work checks its worker."""


def _never() -> bool:
    return False


@dataclass(eq=False, slots=True)
class Job(Generic[Item, Result]):
    """One item of work. ``cost`` is what it takes, in seconds of audio or the like."""

    item: Item
    group: Hashable
    cost: float
    priority: Priority
    future: Future[Result] = field(default_factory=Future)
    abandoned: bool = False
    """Nobody waits for the result any more. The job may still be running."""
    listener: Callable[[object], None] | None = None
    """Called with each part of the result that the engine gives ahead of the whole."""
    begun: bool = False
    """Parts of the result have been given. Running the job again would give them twice."""
    waited: Callable[[float], None] | None = None
    """Called with the seconds that the job waited until a worker took it."""
    killed: int = 0
    """How often its worker was killed from outside."""
    killed_in_a_row: int = 0
    """The same since a kill last hit something else."""
    crashed: int = 0
    """How often its worker crashed or hung, and no other job can be to blame."""
    queued: float = 0.0
    """When it was put into the queue, by that queue's clock."""
    taken: float = 0.0
    """When a worker took it; 0 until then."""

    def hear(self, part: object) -> None:
        """Give ``part`` to the listener; there must be one."""
        assert self.listener is not None
        self.begun = True
        self.listener(part)

    def abandon(self) -> None:
        self.abandoned = True
        self.future.cancel()


class BatchQueue(Generic[Item, Result]):
    """Thread-safe; `put` from anywhere, `take` from the worker threads."""

    def __init__(
        self,
        *,
        max_batch: int,
        max_cost: float = float("inf"),
        max_live_cost: float = float("inf"),
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``max_cost`` limits the `padded_cost` of a batch, and ``max_live_cost`` that of a batch
        of live work. Without ``pace``, a batch may take as long as it likes."""
        self._max_batch = max_batch
        self._max_cost = max_cost
        self._max_live_cost = min(max_cost, max_live_cost)
        self._pace = pace or Pace(interruptible=False)
        self._clock = clock
        self._last_use = clock()
        self._waiting: dict[Priority, deque[Job[Item, Result]]] = {p: deque() for p in Priority}
        self._served = dict.fromkeys(Priority, 0.0)  # cost / weight: the classes' virtual times
        self._now = 0.0  # virtual time: that of the class that was served last
        self._changed = threading.Condition()
        self._bells: list[Callable[[], None]] = []
        self._closed = False

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._waiting.values())

    def put(self, job: Job[Item, Result]) -> None:
        with self._changed:
            if self._closed:
                raise ShuttingDown("The service is shutting down.")
            if not self._waiting[job.priority]:
                # A class that was idle starts where the others are: no credit for that.
                self._served[job.priority] = max(self._served[job.priority], self._now)
            if job.priority is Priority.LIVE:
                self._pace.live_arrived()
            self._waiting[job.priority].append(job)
            self._last_use = job.queued = self._clock()
            self._changed.notify_all()  # `take` and `wait` may both be waiting
            for ring in self._bells:
                ring()

    def take(
        self,
        idle: float | None = None,
        unless: Callable[[], bool] | None = None,
        for_live: Callable[[], bool] = _never,
    ) -> list[Job[Item, Result]] | None:
        """The next batch, for which this waits. None once the queue is closed and empty.

        The batch is empty if nobody has used the queue for ``idle`` seconds, or once ``unless()``
        is true. It is one of live work while ``for_live()`` is true. Both are asked every
        `LOOK_SECONDS`.
        """
        with self._changed:
            self._last_use = self._clock()
            while True:
                if unless and unless():
                    return []
                classes = (Priority.LIVE,) if for_live() else Priority
                batch = self._next_batch(self._max_batch, classes)
                if batch:
                    return batch
                if self._closed:
                    return None
                left = None if idle is None else self._last_use + idle - self._clock()
                if left is not None and left <= 0:
                    return []
                waits = [left, LOOK_SECONDS if unless else None]
                self._changed.wait(min((wait for wait in waits if wait is not None), default=None))

    def take_one(self, *, files: bool) -> Job[Item, Result] | None:
        """The next job, if one waits now. Without ``files``, only live work counts."""
        with self._changed:
            self._last_use = self._clock()
            batch = self._next_batch(1, Priority if files else (Priority.LIVE,))
            return batch[0] if batch else None

    def take_ahead(self, running: Sequence[Job[Item, Result]]) -> list[Job[Item, Result]]:
        """A batch of long files, to prepare while ``running`` is in work. This does not wait.

        It is empty unless as much waits as is in work, or as a batch can have: what is taken early
        is joined by nothing that comes later, and small batches would stay small.
        """
        with self._changed:
            waiting = self._waiting[Priority.FILE]
            enough = min(padded_cost(running), self._max_cost)
            if len(waiting) < self._max_batch and sum(job.cost for job in waiting) < enough:
                return []
            return self._next_batch(self._max_batch, (Priority.FILE,))

    @contextmanager
    def ringing(self, ring: Callable[[], None]) -> Iterator[None]:
        """Within the block, call ``ring`` for each job that is put, in the thread that puts it."""
        with self._changed:
            self._bells.append(ring)
        try:
            yield
        finally:
            with self._changed:
                self._bells.remove(ring)

    def wait(self) -> bool:
        """Wait for work, without taking it. False once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self) > 0)
            return len(self) > 0

    def drain(self) -> list[Job[Item, Result]]:
        """Take all jobs that wait, to answer them without running them."""
        with self._changed:
            jobs = [job for waiting in self._waiting.values() for job in waiting]
            for waiting in self._waiting.values():
                waiting.clear()
            return jobs

    def close(self) -> None:
        """Let `take` return None once what waits is gone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next_batch(
        self, most: int, classes: Iterable[Priority] = Priority
    ) -> list[Job[Item, Result]]:
        batch: list[Job[Item, Result]] = []
        of_files = min(self._max_cost, self._pace.file_cost)
        ready = [p for p in classes if self._waiting[p]]
        for priority in sorted(ready, key=lambda p: (self._served[p], p)):
            if batch and priority is Priority.FILE:
                break  # the live jobs would have to wait for a piece of a file
            self._fill(batch, priority, most, of_files)
        if batch:
            self._now = max(self._now, self._served[batch[0].priority])
        for job in batch:
            self._served[job.priority] += job.cost / WEIGHTS[job.priority]
        return batch

    def _fill(
        self, batch: list[Job[Item, Result]], priority: Priority, most: int, of_files: float
    ) -> None:
        """Move jobs of one class into ``batch`` while they fit beside those already in it.

        It has ``most`` jobs at most. ``of_files`` limits the cost of a batch with work of long
        files.
        """
        kept: deque[Job[Item, Result]] = deque()
        waiting = self._waiting[priority]
        while waiting and len(batch) < most:
            job = waiting.popleft()
            if batch and not self._fits(batch, job, of_files):
                kept.append(job)
            elif job.future.set_running_or_notify_cancel():
                batch.append(job)
                job.taken = self._clock()
                if job.waited:
                    job.waited(job.taken - job.queued)
        waiting.extendleft(reversed(kept))

    def _fits(
        self, batch: list[Job[Item, Result]], job: Job[Item, Result], of_files: float
    ) -> bool:
        if job.group != batch[0].group:
            return False
        together = [*batch, job]
        with_files = any(one.priority is Priority.FILE for one in together)
        return padded_cost(together) <= (of_files if with_files else self._max_live_cost)


def padded_cost(batch: Sequence[Job[Item, Result]]) -> float:
    """What a batch costs: engines make all of its items as long as the longest."""
    return len(batch) * max(job.cost for job in batch)
