"""Which workers a model gets: on a GPU, engines that prepare batches have one for live requests."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.parakeet.models import TORCH_SPEC
from reflector_gpu.service.worker_pools import WorkerPools
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority
from tests.waiting import PATIENCE_SECONDS, until

MODEL = RecogniserModel("card", "tests.runtime.engines:Card", TORCH_SPEC, "Tells its card", "MIT")


def said(devices: tuple[str, ...], workers: int, count: int) -> set[object]:
    """What the engines say to live requests and to files, once ``count`` workers are ready."""
    pools = WorkerPools(load_settings(devices=devices, workers=workers), ())
    try:
        pool = pools.pool(MODEL)
        assert pool.workers == count
        until(lambda: pool.workers_ready == count)
        jobs = [
            pool.put(np.zeros(100, np.float32), None, cost=1.0, priority=priority)
            for priority in (Priority.LIVE, Priority.FILE)
        ]
        return {job.future.result(PATIENCE_SECONDS) for job in jobs}
    finally:
        asyncio.run(pools.close())


@pytest.mark.parametrize(
    ("devices", "workers", "count", "how"),
    [
        (("cuda:3",), 0, 2, {("prepare", "cuda", "3")}),
        (("cpu",), 0, 1, {("transcribe", "cpu", None)}),
        (("cuda:3",), 1, 1, {("transcribe", "cuda", "3")}),
    ],
    ids=["on a GPU", "on a CPU", "as many as the operator says"],
)
def test_a_gpu_has_a_second_process_for_live_requests(
    devices: tuple[str, ...],
    workers: int,
    count: int,
    how: set[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert said(devices, workers, count) == how
