"""Engines as pools of workers, of this machine or elsewhere, started when they are first used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from reflector_gpu.engines.base import (
    CompleterModel,
    DiarizerModel,
    Model,
    RecogniserModel,
    RecogniserSpec,
    Recording,
)
from reflector_gpu.engines.translation.base import TranslatorModel
from reflector_gpu.errors import ShuttingDown
from reflector_gpu.runtime.placement import Placement, layout
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.supervisor import PoolOptions, Starter
from reflector_gpu.runtime.worker import Recipe
from reflector_gpu.settings import Settings
from reflector_gpu.types import (
    SAMPLE_RATE,
    Completion,
    Priority,
    Prompt,
    Recognition,
    Samples,
    SpeakerTurn,
)

Elsewhere: TypeAlias = Mapping[str, Mapping[Priority, Sequence[Starter]]]
"""By a model's name: its workers that are no processes of this machine, for each priority."""

NOWHERE: Elsewhere = {}

_Key: TypeAlias = tuple[type[Model], str, str]
"""The kind of model (a translator may have a recogniser's name), its name, and the priority that
its workers serve, where each has its own."""


class WorkerPools:
    def __init__(
        self, settings: Settings, kept: Collection[str], elsewhere: Elsewhere = NOWHERE
    ) -> None:
        """The models named in ``kept`` are never unloaded. Those ``elsewhere`` have no process
        here, and need not be installed."""
        self._settings = settings
        self._kept = kept
        self._elsewhere = elsewhere
        # Read once: while a worker is started, its own value stands there.
        self._gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._pools: dict[_Key, Pool[Any, Any]] = {}
        self._closed = False

    @property
    def pools(self) -> list[Pool[Any, Any]]:
        return list(self._pools.values())

    def state(self, model: Model) -> PoolState | None:
        """None: nobody has asked for this model yet."""
        keys = {self._key(model, priority) for priority in Priority}
        return next((pool.state for key, pool in self._pools.items() if key in keys), None)

    def missing(self, model: Model) -> tuple[str, ...]:
        """What ``model`` lacks to be used; see `Model.missing`."""
        return () if model.name in self._elsewhere else model.missing

    def recogniser(
        self, model: RecogniserModel, priority: Priority = Priority.LIVE
    ) -> Pool[Samples, Recognition]:
        """Who works on what has this ``priority``.

        Raises `ModelNotInstalled`, `ShuttingDown`.
        """
        spec = self.spec(model)
        longest = spec.max_chunk_seconds + 1
        most = max(longest, min(longest * spec.max_batch, spec.max_batch_seconds))
        options = PoolOptions(max_batch=spec.max_batch, max_batch_cost=spec.max_batch_seconds)
        return self._pool(model, "transcribe", int(most * SAMPLE_RATE), options, priority)

    def spec(self, model: RecogniserModel) -> RecogniserSpec:
        """That of ``model`` on the devices that it runs on."""
        if model.name in self._elsewhere:
            return model.spec
        placements = self.layout(model)
        if any(placement.device != "cpu" for placement in placements):
            return model.spec
        return model.spec.on_cpu(placements[0].threads)

    def diarizer(self, model: DiarizerModel) -> Pool[Recording, Sequence[SpeakerTurn]]:
        """Raises `ModelNotInstalled`, `ShuttingDown`."""
        return self._pool(model, "diarize", 0, PoolOptions())

    def completer(self, model: CompleterModel) -> Pool[Prompt, Completion]:
        """Raises `ModelNotInstalled`, `ShuttingDown`."""
        # Costs are tokens: even a large model on a slow machine writes one in a second.
        options = PoolOptions(
            max_batch=model.spec.max_batch, base_timeout=120.0, timeout_per_cost=1.0
        )
        return self._pool(model, "complete", 0, options)

    def translator(self, model: TranslatorModel) -> Pool[str, str]:
        """Raises `ModelNotInstalled`, `ShuttingDown`."""
        spec = model.spec
        options = PoolOptions(max_batch=spec.max_batch, max_batch_cost=spec.max_batch_characters)
        return self._pool(model, "translate", 0, options)

    def layout(self, model: Model) -> list[Placement]:
        """Where the workers of ``model`` run."""
        return layout(
            self._settings.devices,
            model.spec.devices,
            cores=available_cores(),
            workers=self._settings.workers,
            single_threaded=model.spec.single_threaded,
            visible=self._gpus,
        )

    async def close(self) -> None:
        """Stop every worker; what they work on fails with `ShuttingDown`."""
        self._closed = True
        await asyncio.gather(*(asyncio.to_thread(pool.close) for pool in self._pools.values()))

    def _pool(
        self,
        model: Model,
        method: str,
        memory: int,
        options: PoolOptions,
        priority: Priority = Priority.LIVE,
    ) -> Pool[Any, Any]:
        if self._closed:
            raise ShuttingDown("The service is shutting down.")
        key = self._key(model, priority)
        if key not in self._pools:
            workers = self._elsewhere.get(model.name)
            if workers is None:
                model.check_installed()
                pool = self._local(model, method, memory, options)
            else:
                options = replace(options, interruptible=False)
                pool = Pool(f"{model.name} ({key[2]})", workers[priority], options)
            self._pools[key] = pool
            pool.start()
        return self._pools[key]

    def _key(self, model: Model, priority: Priority) -> _Key:
        """What tells the pools apart; here one serves both priorities."""
        elsewhere = model.name in self._elsewhere
        return type(model), model.name, priority.name.lower() if elsewhere else ""

    def _local(
        self, model: Model, method: str, memory: int, options: PoolOptions
    ) -> Pool[Any, Any]:
        kept = self._settings.keep_default and model.name in self._kept
        return Pool(
            model.name,
            [
                Recipe(
                    model.engine,
                    method,
                    memory,
                    arguments=arguments(model, placement.device, self._settings),
                    environment=placement.environment,
                    streams=isinstance(model, CompleterModel),
                )
                for placement in self.layout(model)
            ],
            replace(
                options,
                replace_abandoned=model.spec.quick_restart,
                idle_seconds=None if kept else self._settings.idle_seconds or None,
            ),
        )


def arguments(model: Model, device: str, settings: Settings) -> dict[str, str]:
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
