"""Engines as pools of workers on this machine: each model's are started when it is first used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from reflector_gpu.engines.base import DiarizerModel, Installable, Model, Recording
from reflector_gpu.errors import ShuttingDown
from reflector_gpu.runtime.placement import Placement, layout
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.supervisor import PoolOptions
from reflector_gpu.runtime.worker import Recipe
from reflector_gpu.settings import Settings
from reflector_gpu.types import SAMPLE_RATE, Recognition, Samples, SpeakerTurn


class Hosts:
    def __init__(self, settings: Settings, kept: Collection[str]) -> None:
        """The models named in ``kept`` are never unloaded."""
        self._settings = settings
        self._kept = kept
        # Read once: while a worker is started, its own value stands there.
        self._gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._pools: dict[str, Pool[Any, Any]] = {}
        self._closed = False

    @property
    def pools(self) -> list[Pool[Any, Any]]:
        return list(self._pools.values())

    def state(self, model: Installable) -> PoolState | None:
        """None: nobody has asked for this model yet."""
        pool = self._pools.get(model.name)
        return pool.state if pool else None

    def recogniser(self, model: Model) -> Pool[Samples, Recognition]:
        """Raises `ModelNotInstalled`, `ShuttingDown`."""
        spec = model.spec
        longest = spec.max_chunk_seconds + 1
        most = max(longest, min(longest * spec.max_batch, spec.max_batch_seconds))
        options = PoolOptions(max_batch=spec.max_batch, max_batch_cost=spec.max_batch_seconds)
        return self._pool(model, "transcribe", int(most * SAMPLE_RATE), options)

    def diarizer(self, model: DiarizerModel) -> Pool[Recording, Sequence[SpeakerTurn]]:
        """Raises `ModelNotInstalled`, `ShuttingDown`."""
        return self._pool(model, "diarize", 0, PoolOptions())

    def layout(self, model: Installable) -> list[Placement]:
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
        self, model: Installable, method: str, memory: int, options: PoolOptions
    ) -> Pool[Any, Any]:
        model.check_installed()
        if self._closed:
            raise ShuttingDown("The service is shutting down.")
        if model.name not in self._pools:
            kept = self._settings.keep_default and model.name in self._kept
            pool: Pool[Any, Any] = Pool(
                model.name,
                [
                    Recipe(
                        model.engine,
                        method,
                        memory,
                        self._arguments(model, placement),
                        placement.environment,
                    )
                    for placement in self.layout(model)
                ],
                replace(
                    options,
                    replace_abandoned=model.spec.quick_restart,
                    idle_seconds=None if kept else self._settings.idle_seconds or None,
                ),
            )
            self._pools[model.name] = pool
            pool.start()
        return self._pools[model.name]

    def _arguments(self, model: Installable, placement: Placement) -> dict[str, str]:
        found: dict[str, str] = {}
        if model.weights and model.weights.folder:
            found["weights"] = str(model.weights.folder)
        if len(model.spec.devices) > 1:
            found["device"] = placement.device
        if model.spec.compute_types and self._settings.compute_type:
            found["compute_type"] = self._settings.compute_type
        return {**found, **model.arguments}


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
