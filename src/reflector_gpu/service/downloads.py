"""Weights that are downloaded while the server runs, one model after the other.

Each download is a process of its own, because a thread inside the hub library cannot be stopped.
A download that was stopped is continued by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.weights import SOURCES, Weights, size
from reflector_gpu.errors import EngineLoading, ModelNotInstalled, ReflectorError, UpstreamFailed
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.worker import Abandoned, Worker, WorkerDied

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""How long a download that failed is not tried again."""

_LONGEST_DOWNLOAD = 24 * 3600.0  # seconds; then it starts anew, from where it was
_SHORTEST, _UNKNOWN, _LONGEST = 5.0, 30.0, 300.0  # seconds that a client is told to wait


class Downloads:
    """Downloads weights, one model at a time. For one event loop."""

    def __init__(
        self,
        downloaded: Callable[[AnyModel], None],
        clock: Callable[[], float] = time.monotonic,
        sources: Sequence[str] = SOURCES,
    ) -> None:
        """``downloaded`` is called with each model whose weights are here now. ``sources`` are
        tried in order, as by `Weights.pull`."""
        self._downloaded = downloaded
        self._sources = tuple(sources)
        self._clock = clock
        self._queue: list[AnyModel] = []  # the first is being downloaded
        self._failures: dict[str, _Failure] = {}
        self._began = self._had = 0.0  # when the first of them was begun, and megabytes then here
        self._closing = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, model: AnyModel) -> None:
        """Download the weights of ``model``, unless that goes on already or has just failed."""
        failure = self._failures.get(model.name)
        if model in self or self._closing.is_set() or (failure and self._clock() < failure.until):
            return
        self._queue.append(model)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    def __contains__(self, model: AnyModel) -> bool:
        """Whether ``model`` is being downloaded, or will be."""
        return any(one.name == model.name for one in self._queue)

    def failed(self, model: AnyModel) -> bool:
        """Whether the last download of ``model`` failed."""
        return model.name in self._failures and model not in self

    def check(self, model: AnyModel) -> None:
        """Raise an error if ``model`` is being downloaded or could not be.

        Raises:
            EngineLoading: it is being downloaded, or waits for its turn.
            ModelNotInstalled: it could not be downloaded, and why.
        """
        if model in self:
            raise EngineLoading(self._outlook(model), param="model", retry_after=self._wait(model))
        if failure := self._failures.get(model.name):
            raise ModelNotInstalled(
                f"Model '{model.name}' could not be downloaded. {failure.error.message} "
                f"By hand: {model.installation}",
                param="model",
                retry_after=max(1.0, failure.until - self._clock()),
            )

    async def finished(self) -> None:
        """Wait until nothing is being downloaded."""
        if self._task:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop the download that runs. Those that wait do not begin."""
        self._closing.set()
        await self.finished()

    async def _work(self) -> None:
        while self._queue and not self._closing.is_set():
            model = self._queue[0]
            try:
                error = await self._download(model)
            finally:
                self._queue.pop(0)
            if error:
                logger.error("%s could not be downloaded: %s", model.name, error.message)
                self._failures[model.name] = _Failure(error, self._clock() + RETRY_SECONDS)
            elif not self._closing.is_set():
                self._failures.pop(model.name, None)
                try:
                    self._downloaded(model)
                except ReflectorError as error:  # the next request for the model gets the error
                    logger.error("%s does not start: %s", model.name, error.message)

    async def _download(self, model: AnyModel) -> ReflectorError | None:
        """Download ``model``. The result is the error, if it failed."""
        weights = _weights(model)
        self._began, self._had = self._clock(), weights.fetched
        logger.info(
            "%s: downloading %s from %s", model.name, size(weights.megabytes), weights.repository
        )
        try:
            await asyncio.to_thread(_pull, weights, self._sources, self._closing.is_set)
        except Abandoned:
            logger.info("%s: download stopped; the next one goes on from there", model.name)
        except WorkerDied as death:
            return UpstreamFailed(f"Its download ended early: {death}.")
        except ReflectorError as error:
            return error
        except (OSError, RuntimeError) as error:  # no descriptor, memory or thread is left
            return UpstreamFailed(f"Its download cannot be started: {error}.")
        else:
            logger.info("%s: downloaded in %.0f s", model.name, self._clock() - self._began)
        return None

    def _outlook(self, model: AnyModel) -> str:
        first = self._queue[0]
        if model.name == first.name:
            return f"Model '{model.name}' is being downloaded: {_share(_weights(model))}."
        return (
            f"Model '{model.name}' will be downloaded after '{first.name}': "
            f"{_share(_weights(first))}."
        )

    def _wait(self, model: AnyModel) -> float:
        place = next(i for i, one in enumerate(self._queue) if one.name == model.name)
        ahead = [_weights(one) for one in self._queue[: place + 1]]
        return patience(
            sum(max(0.0, weights.megabytes - weights.fetched) for weights in ahead),
            ahead[0].fetched - self._had,
            self._clock() - self._began,
        )


class Puller:
    """`Weights.pull` as an engine, so that a `Worker` runs it and can be stopped."""

    def load(self) -> None:
        """Nothing to load."""

    def pull(self, batch: Sequence[Weights], sources: tuple[str, ...]) -> Sequence[None]:
        for weights in batch:
            weights.pull(sources)
        return [None] * len(batch)

    def close(self) -> None:
        """Nothing to free."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a download failed, and until when nobody tries again."""

    error: ReflectorError
    until: float


def patience(missing: float, came: float, seconds: float) -> float:
    """How many seconds to wait for ``missing`` megabytes, if ``came`` of them took ``seconds``."""
    if came <= 0:
        return _UNKNOWN
    return min(max(missing * seconds / came, _SHORTEST), _LONGEST)


_RECIPE = Recipe(
    f"{__name__}:{Puller.__name__}",
    Puller.pull.__name__,
    environment={"HF_HUB_DISABLE_PROGRESS_BARS": "1"},  # its standard error is the server's log
)


def _pull(weights: Weights, sources: tuple[str, ...], abandoned: Callable[[], bool]) -> None:
    """
    Raises:
        ReflectorError: what `Weights.pull` raises.
        WorkerDied, Abandoned
    """
    worker = Worker(_RECIPE, abandoned=abandoned)
    try:
        worker.run(
            Batch(items=[weights], options=sources, timeout=_LONGEST_DOWNLOAD, abandoned=abandoned)
        )
    finally:
        worker.stop()


def _weights(model: AnyModel) -> Weights:
    assert model.weights is not None, "only weights can be downloaded"
    return model.weights


def _share(weights: Weights) -> str:
    """``800 MB of 2.5 GB``."""
    return f"{size(min(weights.fetched, weights.megabytes))} of {size(weights.megabytes)}"
