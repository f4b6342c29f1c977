"""Workers that are elsewhere: what is called how often, and when calls fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from reflector_gpu.deploy.remote_workers import Remote, RemoteStream, Reply
from reflector_gpu.errors import EngineFailed
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.worker import WorkerDied
from reflector_gpu.types import Priority
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

ITEMS = 16
OPTIONS = PoolOptions(max_batch=ITEMS, first_backoff=0.01)


def outcomes(worker: Any) -> list[Any]:
    """What becomes of `ITEMS` that are one batch."""
    pool: Pool[int, object] = Pool("test", [worker], OPTIONS)

    async def gather() -> list[Any]:
        submitted = (
            pool.submit(item, "", cost=1.0, priority=Priority.LIVE) for item in range(ITEMS)
        )
        tasks = [asyncio.ensure_future(one) for one in submitted]
        await asyncio.sleep(0)  # they are in the queue now
        pool.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.gather(*tasks, return_exceptions=True)

    try:
        return asyncio.run(gather())
    finally:
        pool.close()


@pytest.mark.parametrize("failures", [1, 3, 4])
def test_a_call_that_fails_is_made_again_three_times_and_its_batch_is_never_halved(
    failures: int,
) -> None:
    calls: list[int] = []

    def call(items: Sequence[object], _: object) -> Sequence[object]:
        calls.append(len(items))
        if len(calls) <= failures:
            raise RuntimeError("no container")
        return items

    found = outcomes(Remote(call))
    assert calls == [ITEMS] * min(failures + 1, 4)
    if failures <= 3:
        assert found == list(range(ITEMS))
    else:
        assert {type(one) for one in found} == {EngineFailed}


@dataclass
class Watched:
    """Fulfils `Starter` and `Runner`."""

    pid: None = None
    looks: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        self.looks.append("alive")
        return True

    def start(self, _: Callable[[], bool]) -> Watched:
        return self

    def run(self, batch: Batch) -> Sequence[object]:
        return batch.items

    def stop(self) -> None: ...

    def death(self) -> WorkerDied:
        return WorkerDied("it ended", None)


def test_nobody_looks_after_a_worker_that_is_elsewhere() -> None:
    worker = Watched()
    assert outcomes(worker) == list(range(ITEMS))
    assert not worker.looks


@pytest.mark.parametrize("leaving", [[], [0], [1], [0, 1]])
def test_a_stream_ends_for_all_once_all_have_given_up_and_not_before(leaving: list[int]) -> None:
    def call(items: Sequence[object], _: object) -> Iterator[Reply]:
        yield 0, "a"
        yield list(items)

    heard: list[object] = []
    found = RemoteStream(call).run(
        Batch(
            items=["x", "y"],
            timeout=PATIENCE_SECONDS,
            listeners={0: heard.append},
            given_up=lambda: leaving,
        )
    )
    assert heard == ["a"]
    if len(leaving) < 2:
        assert found == ["x", "y"]
    else:
        assert {type(one) for one in found} == {EngineFailed}
