"""Pools of workers for engines, here or elsewhere. Each starts when it is first used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar

from reflector_gpu.engines.base import AnyModel, Model
from reflector_gpu.engines.capability import Batching
from reflector_gpu.errors import ShuttingDown
from reflector_gpu.runtime.placement import Placement, layout
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.runner import Starter
from reflector_gpu.runtime.watching import NOBODY, PoolWatcher
from reflector_gpu.settings import Settings
from reflector_gpu.types import Priority

Item = TypeVar("Item")
Result = TypeVar("Result")


class StarterElsewhere(Starter, Protocol):
    """Starts a worker on another machine."""

    @property
    def most_items(self) -> int | None:
        """The most items of one call; None if a call may have as many as a batch of the model."""


Elsewhere: TypeAlias = Mapping[str, Mapping[Priority, Sequence[StarterElsewhere]]]
"""The workers of models that run on other machines, by a model's name and by priority."""

NOWHERE: Elsewhere = {}

_Key: TypeAlias = tuple[str, str, str]
"""The kind of a model, its name, and a priority if each has workers of its own.

A translator may have the name of a recogniser, so the name alone is not enough."""


class WorkerPools:
    """The workers of every model that has been asked for."""

    def __init__(
        self,
        settings: Settings,
        kept: Collection[str],
        elsewhere: Elsewhere = NOWHERE,
        scratch: os.PathLike[str] | None = None,
        watcher: PoolWatcher = NOBODY,
        cores: int | None = None,
    ) -> None:
        """Nothing is started yet.

        Models named in ``kept`` are never unloaded. Models ``elsewhere`` have no process here, and
        need not be installed. Workers put temporary files into ``scratch``, or else where the
        system has them. ``watcher`` is told of their work. They compute on so many ``cores``: all
        of this process, if not given.
        """
        self._settings = settings
        self._cores = cores
        self._kept = kept
        self._elsewhere = elsewhere
        self._scratch = scratch
        self._watcher = watcher
        self._pools: dict[_Key, Pool[Any, Any]] = {}
        self._cpu_threads: dict[_Key, int | None] = {}
        self._closed = False

    @property
    def pools(self) -> list[Pool[Any, Any]]:
        return list(self._pools.values())

    def state(self, model: AnyModel) -> PoolState | None:
        """The state of the workers of ``model``, or None if it has not been asked for yet."""
        keys = {self._key(model, priority) for priority in Priority}
        return next((pool.state for key, pool in self._pools.items() if key in keys), None)

    def missing(self, model: AnyModel) -> tuple[str, ...]:
        """What this machine lacks to use ``model``. See `Model.missing`."""
        return () if model.name in self._elsewhere else model.missing

    def pool(
        self, model: Model[Item, Result], priority: Priority = Priority.LIVE
    ) -> Pool[Item, Result]:
        """The workers of ``model`` for this ``priority``. They are started if need be.

        Raises:
            ModelNotInstalled: it is not here.
            ShuttingDown
        """
        if self._closed:
            raise ShuttingDown("The service is shutting down.")
        key = self._key(model, priority)
        if key not in self._pools:
            workers = self._elsewhere.get(model.name)
            if workers is None:
                model.check_installed()
                pool = self._here(model)
            else:
                pool = self._there(f"{model.name} ({key[2]})", model, workers[priority])
            self._pools[key] = pool
            pool.start()
        return self._pools[key]

    def cpu_threads(self, model: AnyModel) -> int | None:
        """The threads of each worker of ``model``, or None if not all run on CPUs here.

        Every request asks for that, so it is worked out once.
        """
        key = self._key(model, Priority.LIVE)
        if key not in self._cpu_threads:
            here = model.name not in self._elsewhere
            placements = self.layout(model) if here else []
            on_cpus = here and all(placement.device == "cpu" for placement in placements)
            self._cpu_threads[key] = placements[0].threads if on_cpus else None
        return self._cpu_threads[key]

    def layout(self, model: AnyModel) -> list[Placement]:
        """Where the workers of ``model`` run."""
        return layout(
            self._settings.devices,
            model.spec.devices,
            cores=self._cores or available_cores(),
            workers=self._settings.workers,
            single_threaded=model.spec.single_threaded,
            visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        )

    async def close(self) -> None:
        """Stop every worker. Their work fails with `ShuttingDown`."""
        self._closed = True
        await asyncio.gather(*(asyncio.to_thread(pool.close) for pool in self._pools.values()))

    def _key(self, model: AnyModel, priority: Priority) -> _Key:
        """The key of a pool. On this machine, one pool serves both priorities."""
        elsewhere = model.name in self._elsewhere
        return model.capability.kind, model.name, priority.name.lower() if elsewhere else ""

    def _batching(self, model: AnyModel) -> Batching:
        threads = self.cpu_threads(model)
        spec = model.spec if threads is None else model.spec.on_cpu(threads)
        return spec.batching

    def _options(self, model: AnyModel) -> PoolOptions:
        batching = self._batching(model)
        return PoolOptions(
            stage=model.capability.stage,
            max_batch=batching.max_items,
            max_batch_cost=batching.max_cost,
            max_live_cost=batching.max_live_cost,
            base_timeout=batching.base_timeout,
            timeout_per_cost=batching.timeout_per_cost,
        )

    def _here(self, model: AnyModel) -> Pool[Any, Any]:
        batching = self._batching(model)
        kept = self._settings.keep_default and model.name in self._kept
        placements = self.layout(model)
        for_live = self._for_live(model, placements)
        recipes = [
            Recipe(
                model.engine,
                model.capability.method,
                batching.samples,
                arguments=arguments(model, placement.device, self._settings),
                environment={**placement.environment, **self._temporary()},
                streams=model.capability.streams,
                lanes=batching.lanes,
                prepares=bool(for_live),
            )
            for placement in [*placements, *for_live]
        ]
        options = replace(
            self._options(model),
            for_live=len(for_live),
            replace_abandoned=model.spec.quick_restart,
            idle_seconds=None if kept else self._settings.idle_seconds or None,
        )
        return Pool(model.name, recipes, options, self._watcher)

    def _for_live(self, model: AnyModel, placements: Sequence[Placement]) -> list[Placement]:
        """Where workers for live requests alone run: one more on each GPU, so that these do not
        wait for large batches of files. An operator who says how many workers there are gets no
        more."""
        if not model.spec.prepares or self._settings.workers:
            return []
        return [placement for placement in placements if placement.device != "cpu"]

    def _there(
        self, name: str, model: AnyModel, workers: Sequence[StarterElsewhere]
    ) -> Pool[Any, Any]:
        options = replace(self._options(model), interruptible=False)
        limits = [one.most_items for one in workers if one.most_items is not None]
        options = replace(options, max_batch=min([options.max_batch, *limits]))
        return Pool(name, workers, options, self._watcher)

    def _temporary(self) -> dict[str, str]:
        """The variable that names the folder for temporary files."""
        if self._scratch is None:
            return {}
        try:
            return {"TMPDIR": os.fspath(self._scratch)}
        except OSError:
            return {}  # there is no room, and engines that need none work all the same


def arguments(model: AnyModel, device: str, settings: Settings) -> dict[str, str]:
    """What the engine of ``model`` is built with, to run on ``device``."""
    found: dict[str, str] = {}
    if model.weights and model.weights.folder:
        found["weights"] = os.pathsep.join(map(str, model.weights.folders))
    if len(model.spec.devices) > 1:
        found["device"] = device
    if model.spec.compute_types and settings.compute_type:
        found["compute_type"] = settings.compute_type
    return {**found, **model.arguments}


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
