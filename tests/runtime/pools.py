"""Pools of the engines in `tests.runtime.engines`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.types import Priority
from tests.runtime.engines import recipe
from tests.waiting import PATIENCE_SECONDS

TextPool = Pool[object, Any]


@contextmanager
def pooled(
    engine: type,
    options: PoolOptions | None = None,
    *,
    workers: int = 1,
    lanes: int = 1,
    **arguments: str,
) -> Iterator[TextPool]:
    """A pool, not started yet, closed in the end whatever happens."""
    recipes = [replace(recipe(engine, memory=0, **arguments), lanes=lanes)] * workers
    pool: TextPool = Pool("test", recipes, options or PoolOptions())
    try:
        yield pool
    finally:
        pool.close()


def submit(
    pool: TextPool, item: object, group: str = "", cost: float = 1.0
) -> Coroutine[Any, Any, Any]:
    return pool.submit(item, group, cost=cost, priority=Priority.LIVE)


def outcomes(pool: TextPool, *items: object) -> list[Any]:
    """What becomes of ``items`` that all wait when the pool starts."""

    async def gather() -> list[Any]:
        tasks = [asyncio.ensure_future(submit(pool, item)) for item in items]
        await asyncio.sleep(0)  # they are in the queue now
        pool.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(gather())


def in_thread(work: Callable[[], object]) -> Awaitable[object]:
    return asyncio.wait_for(asyncio.to_thread(work), PATIENCE_SECONDS)


def state(pool: TextPool) -> str:
    return pool.state.value
