"""Runs an engine in a container of its own, and answers calls.

Calls at the same time share batches, as requests to a server do.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from reflector_gpu.deploy.remote_workers import Reply
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.queue import Job
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.worker import WorkerDied
from reflector_gpu.service.worker_pools import WorkerPools, arguments
from reflector_gpu.settings import Settings
from reflector_gpu.types import SAMPLE_RATE, Priority

logger = logging.getLogger(__name__)


class EngineHost:
    """`load` it, `run` calls from any threads, `close` it."""

    def __init__(self, model: AnyModel, new_pool: Callable[[], Pool[Any, Any]]) -> None:
        """``new_pool`` starts the workers of ``model``, as `in_this_process` does."""
        self._model = model
        self._new_pool = new_pool
        self._pool: Pool[Any, Any] | None = None
        self._loading = threading.Lock()

    def warm(self) -> None:
        """Import the engine and its libraries, which needs no GPU."""
        for package in (self._model.engine.partition(":")[0], *self._model.packages):
            try:
                importlib.import_module(package)
            except Exception as error:  # a library may raise anything; `load` reports it again
                logger.warning("%s cannot be imported: %s", package, error, exc_info=True)

    def load(self) -> None:
        """Load the engine unless it is loaded. If that fails, calls raise the error."""
        with self._loading:
            if self._pool is not None and not self.failed:
                return
            failed, self._pool = self._pool, self._new_pool()
            if failed is not None:
                failed.close()
            with suppress(ReflectorError):  # the pool keeps the error and tries again
                self._pool.wait_ready()

    @property
    def failed(self) -> bool:
        """Whether the last attempt to load the engine failed."""
        return self.error is not None

    @property
    def error(self) -> ReflectorError | None:
        """Why the engine did not load, if it failed."""
        return self._pool.error if self._pool else None

    def run(
        self, items: Sequence[object], options: Any, priority: Priority = Priority.LIVE
    ) -> list[object]:
        """A result or a `ReflectorError` for each of ``items``, in order."""
        try:
            jobs = self._put(items, options, priority)
        except ReflectorError as error:
            return [error for _ in items]
        return [_outcome(job) for job in jobs]

    def stream(
        self, items: Sequence[object], options: Any, priority: Priority = Priority.LIVE
    ) -> Stream:
        """Parts of results as they come, each with its item's index, and then the result of `run`.

        Modal never gives one up, because it does not notice that a client has left.
        """
        said: SimpleQueue[Reply] = SimpleQueue()
        try:
            jobs = self._put(items, options, priority, said)
        except ReflectorError as error:
            return Stream([], iter([[error for _ in items]]))
        for job in jobs:
            job.future.add_done_callback(lambda _: said.put([]))
        return Stream(jobs, _messages(jobs, said))

    @property
    def waiting(self) -> int:
        """How many items wait for the engine."""
        return self._pool.waiting if self._pool else 0

    def close(self) -> None:
        """Free the engine. It can be loaded again."""
        with self._loading:
            if self._pool is not None:
                self._pool.close()
            self._pool = None

    def _put(
        self,
        items: Sequence[object],
        options: Any,
        priority: Priority,
        said: SimpleQueue[Reply] | None = None,
    ) -> list[Job[Any, Any]]:
        """Queue all of ``items`` or none. Parts of their results go to ``said``."""
        pool = self._pool
        assert pool is not None, "load comes first"
        jobs: list[Job[Any, Any]] = []
        try:
            for index, item in enumerate(items):
                listener = None if said is None else partial(_say, said, index)
                jobs.append(
                    pool.put(
                        item,
                        options,
                        cost=_cost(item),
                        priority=priority,
                        listener=listener,
                    )
                )
        except ReflectorError:
            for job in jobs:
                job.abandon()
            raise
        return jobs


class Stream(Iterator[Reply]):
    """The messages of some items. Any thread may give the items up."""

    def __init__(self, jobs: Sequence[Job[Any, Any]], messages: Iterator[Reply]) -> None:
        self._jobs = jobs
        self._messages = messages

    def __next__(self) -> Reply:
        return next(self._messages)

    def give_up(self) -> None:
        """Nobody waits for the items any more. The messages then end soon."""
        for job in self._jobs:
            job.abandon()  # has no effect on one that is done


def _messages(jobs: Sequence[Job[Any, Any]], said: SimpleQueue[Reply]) -> Iterator[Reply]:
    missing = len(jobs)
    while missing:
        if isinstance(message := said.get(), tuple):
            yield message
        else:
            missing -= 1
    yield [_outcome(job) for job in jobs]


def in_this_process(model: AnyModel, device: str, settings: Settings) -> Pool[Any, Any]:
    """A worker in this process, so that a snapshot of its memory holds the loaded engine.

    What isolates the failures of the engine is then the container.
    """
    here = _Here(model, device, settings)
    workers = {priority: [here] for priority in Priority}
    return WorkerPools(settings, (), {model.name: workers}).pool(model)


@dataclass(frozen=True, slots=True)
class _Here:
    """Starts the engine in this process, as a `runtime.runner.Starter`."""

    model: AnyModel
    device: str
    settings: Settings
    most_items: int | None = None

    def start(self, _: Callable[[], bool]) -> _Running:
        self.model.check_installed()
        # Not before: the weights may have come since the process began.
        found = arguments(self.model, self.device, self.settings)
        return _Running(
            Recipe(self.model.engine, self.model.capability.method, arguments=found), self
        )


class _Running:
    """Runs batches in this process, as a `runtime.runner.Runner`."""

    pid = None
    alive = True

    def __init__(self, recipe: Recipe, here: _Here) -> None:
        self._streams = here.model.capability.streams
        try:
            self._engine = recipe.build()
            self._engine.load()
        except ReflectorError:
            raise
        except Exception as error:  # a model library may raise anything while loading
            logger.exception("%s did not load", recipe.engine)
            message = f"The engine did not load: {type(error).__name__}: {error}"
            raise EngineFailed(message) from error
        self._method: Callable[..., Sequence[object]] = getattr(self._engine, recipe.method)

    def run(self, batch: Batch) -> Sequence[object]:
        more = (_BatchProgress(batch),) if self._streams else ()
        try:
            return list(self._method(batch.items, batch.options, *more))
        except ReflectorError:
            raise
        except Exception as error:  # a library's failure must not end the thread
            logger.exception("a batch of %d failed", len(batch.items))
            raise EngineFailed(f"The engine failed: {type(error).__name__}") from error

    def stop(self) -> None:
        self._engine.close()

    def death(self) -> WorkerDied:
        return WorkerDied("it ended", None)


@dataclass(frozen=True, slots=True)
class _BatchProgress:
    """Passes parts of results to the listeners of a batch, as a `Progress` for the engine."""

    batch: Batch

    def say(self, index: int, part: object) -> bool:
        """Pass on a part of an item's result. True if nobody waits for the item any more."""
        if index in self.batch.listeners:
            self.batch.listeners[index](part)
        return index in self.batch.given_up()


def _say(said: SimpleQueue[Reply], index: int, part: object) -> None:
    said.put((index, part))


def _outcome(job: Job[Any, Any]) -> object:
    try:
        return job.future.result()
    except ReflectorError as error:
        return error
    except CancelledError:
        return EngineFailed("Nobody waits for this result.")


def _cost(item: object) -> float:
    """The cost of an item: seconds of audio, characters of text, and 1 for anything else."""
    if isinstance(item, np.ndarray):
        return item.size / SAMPLE_RATE
    return float(len(item)) if isinstance(item, str) else 1.0
