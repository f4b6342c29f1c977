"""What is done again, whatever becomes of it once."""

from __future__ import annotations

import asyncio

import pytest

from reflector_gpu.errors import Unavailable
from reflector_gpu.store.repeated import repeat


def test_a_step_that_fails_is_done_again_and_only_a_bug_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [Unavailable("The database does not answer."), RuntimeError("a bug")]
    done = asyncio.Event()

    async def step() -> None:
        if failures:
            raise failures.pop(0)
        done.set()

    async def run() -> None:
        task = asyncio.create_task(repeat(step, 0.0, "it was not done"))
        async with asyncio.timeout(10):
            await done.wait()
        task.cancel()

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == ["it was not done"]
