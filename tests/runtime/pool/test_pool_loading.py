"""Models that do not load, or not at once, and such as are unloaded for want of work."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path

import pytest

from reflector_gpu.errors import (
    EngineLoading,
    EngineNotLoaded,
    ModelNotInstalled,
    ReflectorError,
    ShuttingDown,
)
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.pool_options import PoolOptions
from tests import processes
from tests.runtime import engines
from tests.runtime.engines import recipe
from tests.runtime.pools import TextPool, in_thread, outcomes, pooled, state, submit
from tests.waiting import PATIENCE_SECONDS, until


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_without_work_is_unloaded_and_comes_back_for_the_next_job(workers: int) -> None:
    pool_engine = recipe(engines.Echo).engine
    with pooled(engines.Echo, PoolOptions(idle_seconds=0.05), workers=workers) as pool:
        first = outcomes(pool, "a")
        for _ in range(3):
            until(lambda: state(pool) == "idle" and not processes.workers(pool_engine))
            pool.wait_ready(timeout=0)  # it will work when there is work
            ((item, *_, pid),) = outcomes(pool, "b")
            assert item == "b"
            assert pid not in {found[-1] for found in first}
            assert pool.error is None
        until(lambda: state(pool) == "idle")
    assert state(pool) == "closed"


def test_a_model_that_does_not_come_back_says_so(tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    options = PoolOptions(idle_seconds=0.05, first_backoff=0.01)
    with pooled(engines.Unloadable, options, how="missing", flag=str(flag)) as pool:
        assert outcomes(pool, "a") == ["a"]
        until(lambda: state(pool) == "idle")
        flag.touch()
        (error,) = outcomes(pool, "b")
        assert isinstance(error, ModelNotInstalled)
        flag.unlink()
        until(lambda: pool.error is None)
        assert outcomes(pool, "c") == ["c"]


def test_waiting_for_a_model_in_an_event_loop(tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    flag.touch()

    async def scene(pool: TextPool) -> None:
        with pytest.raises(EngineLoading):
            await pool.ready(0)
        waiting = [asyncio.ensure_future(pool.ready(PATIENCE_SECONDS)) for _ in range(3)]
        waiting[0].cancel()
        pool.start()
        for each in waiting[1:]:
            with pytest.raises(ModelNotInstalled):
                await each
        flag.unlink()
        await in_thread(lambda: until(lambda: pool.workers_ready))
        await pool.ready(0)
        await in_thread(pool.close)
        with pytest.raises(ShuttingDown):
            await pool.ready(PATIENCE_SECONDS)

    options = PoolOptions(first_backoff=0.01)
    with pooled(engines.Unloadable, options, how="missing", flag=str(flag)) as pool:
        asyncio.run(scene(pool))


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("missing", ModelNotInstalled, "Get it at example.com."),
        ("raise", EngineNotLoaded, "did not load"),
        ("exit", EngineNotLoaded, "died while loading: exited with status 9"),
    ],
)
def test_an_engine_that_does_not_load_fails_whoever_waits_and_whoever_comes(
    how: str, kind: type[ReflectorError], message: str
) -> None:
    with pooled(engines.Unloadable, PoolOptions(first_backoff=600), how=how) as pool:
        waited = outcomes(pool, "a", "b")
        assert pool.state is PoolState.FAILED
        with pytest.raises(kind, match=message) as came:
            asyncio.run(submit(pool, "c"))
        with pytest.raises(kind, match=message):
            pool.wait_ready(PATIENCE_SECONDS)
        for error in (*waited, came.value, pool.error):
            assert isinstance(error, kind)
            assert vars(error) == vars(came.value)
        # One that is raised again and again would drag a growing traceback along.
        assert len({id(error) for error in (*waited, came.value, pool.error)}) == 4


def test_an_engine_that_does_not_load_is_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    options = PoolOptions(first_backoff=0.01, longest_backoff=0.02)
    with pooled(engines.Unloadable, options, how="missing", flag=str(flag)) as pool:
        pool.start()
        until(lambda: pool.state is PoolState.FAILED)
        flag.unlink()
        until(lambda: pool.state is PoolState.READY)
        assert pool.error is None
        assert asyncio.run(submit(pool, "a")) == "a"


def test_a_worker_that_dies_while_loading_is_given_another_chance(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    options = PoolOptions(first_backoff=600)
    with pooled(engines.Unloadable, options, how="exit once", flag=str(flag)) as pool:
        assert outcomes(pool, "a") == ["a"]
    assert "died while loading: exited with status 9" in caplog.text


def test_tries_are_further_and_further_apart(caplog: pytest.LogCaptureFixture) -> None:
    def waits() -> list[str]:
        return re.findall(r"Next try in ([\d.]+) s", caplog.text)

    caplog.set_level(logging.ERROR)
    options = PoolOptions(first_backoff=0.1, longest_backoff=0.2)
    with pooled(engines.Unloadable, options, how="missing") as pool:
        pool.start()
        until(lambda: len(waits()) >= 4)
    assert waits()[:4] == ["0.1", "0.2", "0.2", "0.2"]


def test_an_engine_that_does_not_load_again_fails_the_batch_in_hand(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    options = PoolOptions(max_batch=2, first_backoff=600)
    with pooled(engines.Unloadable, options, how="missing", flag=str(flag)) as pool:
        pool.start()
        pool.wait_ready(PATIENCE_SECONDS)
        flag.touch()
        assert all(isinstance(found, ModelNotInstalled) for found in outcomes(pool, "exit", "a"))
        assert pool.state is PoolState.FAILED


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("reflector_gpu.runtime.supervisor.Worker", refuse)
    with pooled(engines.Echo, PoolOptions(first_backoff=600)) as pool:
        (found,) = outcomes(pool, "a")
        assert isinstance(found, EngineNotLoaded)
        assert pool.state is PoolState.FAILED


def test_a_worker_that_does_not_load_fails_nobody_while_another_may(tmp_path: Path) -> None:
    gate, flag = tmp_path / "gate", tmp_path / "broken"
    os.mkfifo(gate)
    flag.touch()
    broken = recipe(engines.Unloadable, memory=0, how="missing", flag=str(flag))
    slow = recipe(engines.Patient, memory=0, pipe=str(gate))
    options = PoolOptions(first_backoff=0.01)
    pool: TextPool = Pool("test", [broken, slow], options)

    async def scene() -> object:
        task = asyncio.ensure_future(submit(pool, "a"))
        await asyncio.sleep(0)
        pool.start()
        await in_thread(lambda: gate.write_bytes(b"go on"))
        return await asyncio.wait_for(task, PATIENCE_SECONDS)

    try:
        assert asyncio.run(scene()) == "a"
        assert pool.error is None
    finally:
        pool.close()
