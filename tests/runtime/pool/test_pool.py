"""Batches, what is given up, and closing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from reflector_gpu.errors import (
    EngineLoading,
    ShuttingDown,
)
from reflector_gpu.runtime.pool import PoolState
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.types import Priority
from tests.processes import workers
from tests.runtime import engines
from tests.runtime.engines import recipe
from tests.runtime.pools import TextPool, in_thread, outcomes, pooled, state, submit
from tests.waiting import PATIENCE_SECONDS, until


def test_the_states_of_a_pool() -> None:
    with pooled(engines.Echo) as pool:
        assert state(pool) == "loading"
        with pytest.raises(EngineLoading, match="'test' is still loading"):
            pool.wait_ready(timeout=0)
        pool.start()
        pool.start()
        pool.wait_ready(PATIENCE_SECONDS)
        assert state(pool) == "ready"
        assert (pool.workers_ready, pool.waiting, pool.error) == (1, 0, None)
    assert state(pool) == "closed"
    assert pool.workers_ready == 0


def test_batches_of_files_grow_with_what_was_measured_and_live_ones_need_no_measure(
    tmp_path: Path,
) -> None:
    def sizes(priority: Priority) -> list[int]:
        notes = tmp_path / priority.name
        with pooled(engines.Obedient, PoolOptions(max_batch=8), notes=str(notes)) as pool:
            jobs = [pool.put(item, "", cost=1, priority=priority) for item in "abcdefghijkl"]
            pool.start()
            assert [job.future.result(PATIENCE_SECONDS) for job in jobs] == list("ABCDEFGHIJKL")
        return [len(line.split()) for line in notes.read_text().splitlines()]

    of_files = sizes(Priority.FILE)
    assert of_files[0] == 1 < max(of_files)
    assert sizes(Priority.LIVE) == [8, 4]


def test_what_waits_together_runs_together() -> None:
    with pooled(engines.Echo, PoolOptions(max_batch=3)) as pool:
        found = outcomes(pool, "a", "b", "c", "d")
    assert [(item, count) for item, _, count, _ in found] == [
        ("a", 3),
        ("b", 3),
        ("c", 3),
        ("d", 1),
    ]


def test_groups_are_the_engines_options() -> None:
    async def both(pool: TextPool) -> None:
        (_, x, *_), (_, y, *_) = await asyncio.gather(submit(pool, 1, "x"), submit(pool, 2, "y"))
        assert (x, y) == ("x", "y")

    with pooled(engines.Echo, PoolOptions(max_batch=9)) as pool:
        pool.start()
        asyncio.run(both(pool))


def test_a_worker_is_freed_from_work_that_nobody_waits_for() -> None:
    async def scene(pool: TextPool) -> object:
        hanging = [asyncio.ensure_future(submit(pool, "hang")) for _ in range(2)]
        await in_thread(lambda: until(lambda: pool.workers_ready and not pool.waiting))
        for task in hanging:
            task.cancel()
        return await asyncio.wait_for(submit(pool, "a"), PATIENCE_SECONDS)

    options = PoolOptions(max_batch=2, base_timeout=3600, replace_abandoned=True)
    with pooled(engines.Obedient, options) as pool:
        pool.start()
        assert asyncio.run(scene(pool)) == "A"


def test_what_is_given_up_while_it_waits_never_runs(tmp_path: Path) -> None:
    async def scene(pool: TextPool) -> object:
        leaving, staying = (asyncio.ensure_future(submit(pool, item)) for item in ("a", "b"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        pool.start()
        return await asyncio.wait_for(staying, PATIENCE_SECONDS)

    notes = tmp_path / "notes"
    with pooled(engines.Obedient, notes=str(notes)) as pool:
        assert asyncio.run(scene(pool)) == "B"
    assert notes.read_text(encoding="utf-8") == "b\n"


def test_closing_fails_what_waits_and_leaves_no_process() -> None:
    async def scene(pool: TextPool) -> list[Any]:
        hanging = asyncio.ensure_future(submit(pool, "hang"))
        await in_thread(lambda: until(lambda: pool.workers_ready and not pool.waiting))
        waiting = [asyncio.ensure_future(submit(pool, "a")) for _ in range(3)]
        await in_thread(lambda: until(lambda: pool.waiting == 3))
        hanging.cancel()
        await in_thread(pool.close)
        return await asyncio.gather(*waiting, return_exceptions=True)

    with pooled(engines.Obedient) as pool:
        pool.start()
        found = asyncio.run(scene(pool))
        assert len(found) == 3
        assert all(isinstance(error, ShuttingDown) for error in found)
        until(lambda: not workers(recipe(engines.Obedient).engine))
        pool.close()
        with pytest.raises(ShuttingDown):
            asyncio.run(submit(pool, "b"))


def test_closing_before_the_start_and_while_loading() -> None:
    with pooled(engines.Echo) as pool:
        pass
    assert pool.state is PoolState.CLOSED
    with pooled(engines.Unloadable, how="hang") as pool:
        pool.start()
    until(lambda: not workers(recipe(engines.Unloadable).engine))
