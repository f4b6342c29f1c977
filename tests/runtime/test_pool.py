"""Workers that die, hang, fail to load or are given up on, and no job that is lost over it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from reflector_gpu.errors import (
    EngineFailed,
    EngineLoading,
    InvalidRequest,
    ModelNotInstalled,
    ReflectorError,
    ShuttingDown,
    TooLarge,
)
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.supervisor import PoolOptions
from reflector_gpu.types import Priority
from tests.runtime import engines
from tests.runtime.engines import recipe
from tests.waiting import PATIENCE_SECONDS, until

TextPool = Pool[object, Any]


@contextmanager
def pooled(
    engine: type, options: PoolOptions | None = None, *, workers: int = 1, **arguments: str
) -> Iterator[TextPool]:
    """A pool, not started yet, closed in the end whatever happens."""
    recipes = [recipe(engine, memory=0, **arguments)] * workers
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


@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_without_work_is_unloaded_and_comes_back_for_the_next_job(workers: int) -> None:
    before = _children()
    with pooled(engines.Echo, PoolOptions(idle_seconds=0.05), workers=workers) as pool:
        first = outcomes(pool, "a")
        for _ in range(3):
            until(lambda: state(pool) == "idle" and _children() <= before)
            pool.wait_ready(timeout=0)  # it will work when there is work
            ((item, *_, pid),) = outcomes(pool, "b")
            assert item == "b"
            assert pid not in {found[-1] for found in first}
            assert pool.error is None
        until(lambda: state(pool) == "idle")
    assert state(pool) == "closed"


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

    assert sizes(Priority.FILE)[:2] == [1, 2]
    assert sizes(Priority.LIVE) == [8, 4]


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


def test_a_batch_whose_worker_dies_runs_once_more(tmp_path: Path) -> None:
    with pooled(engines.Obedient, PoolOptions(max_batch=4)) as pool:
        found = outcomes(pool, "a", f"once {tmp_path / 'flag'}", "b")
        assert found == ["A", "at the second try", "B"]
        assert pool.state is PoolState.READY


def test_what_kills_the_engine_fails_alone(tmp_path: Path) -> None:
    poison, notes = "kill", tmp_path / "notes"
    with pooled(engines.Obedient, PoolOptions(max_batch=4), notes=str(notes)) as pool:
        a, b, bad, c = outcomes(pool, "a", "b", poison, "c")
        assert (a, b, c) == ("A", "B", "C")
        assert isinstance(bad, EngineFailed)
        assert "died twice" in bad.message
        assert asyncio.run(submit(pool, "still here")) == "STILL HERE"
    runs = notes.read_text(encoding="utf-8").splitlines()
    whole, half = f"a b {poison} c", f"{poison} c"
    assert runs == [whole, whole, "a b", half, half, poison, poison, "c", "still here"]


@pytest.mark.parametrize(
    ("poison", "kind"),
    [
        ("raise", EngineFailed),
        ("unpicklable", EngineFailed),
        ("unreadable", EngineFailed),
        ("refuse all", TooLarge),
        ("refuse", InvalidRequest),
    ],
)
def test_what_the_engine_can_not_do_fails_alone(
    poison: str, kind: type[ReflectorError], tmp_path: Path
) -> None:
    with pooled(engines.Obedient, PoolOptions(max_batch=4)) as pool:
        a, b, bad, c = outcomes(pool, "a", "b", poison, "c")
        assert (a, b, c) == ("A", "B", "C")
        assert isinstance(bad, kind)


def test_an_item_that_can_not_be_sent_fails_alone() -> None:
    with pooled(engines.Echo, PoolOptions(max_batch=4)) as pool:
        good, bad = outcomes(pool, "a", lambda: None)
        assert good[0] == "a"
        assert isinstance(bad, EngineFailed)


def test_a_worker_that_dies_while_it_waits_is_replaced_before_there_is_work() -> None:
    before = _children()
    with pooled(engines.Echo) as pool:
        ((*_, first),) = outcomes(pool, "a")
        os.kill(first, signal.SIGKILL)
        until(lambda: state(pool) == "loading")
        until(lambda: state(pool) == "ready")
        (second,) = _children() - before
        ((*_, found),) = outcomes(pool, "b")
        assert first != second == found


def test_workers_that_die_before_they_have_work_are_replaced_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    options = PoolOptions(first_backoff=1, longest_backoff=3)
    with pooled(engines.Fleeting, options) as pool:
        monkeypatch.setattr(pool._roster.closing, "wait", waited.append)
        pool.start()
        until(lambda: len(waited) >= 4)
    assert waited[:4] == [0, 1, 2, 3]


def test_a_wrong_number_of_results_fails_everybody_concerned() -> None:
    with pooled(engines.Miscounting, PoolOptions(max_batch=4)) as pool:
        assert all(isinstance(found, EngineFailed) for found in outcomes(pool, "a", "b"))
        assert pool.state is PoolState.READY


def test_a_hang_fails_alone() -> None:
    async def scene(pool: TextPool) -> None:
        bad = asyncio.ensure_future(submit(pool, "hang", cost=0.1))
        good = asyncio.ensure_future(submit(pool, "a", cost=PATIENCE_SECONDS))
        with pytest.raises(EngineFailed):
            await bad
        assert await good == "A"

    options = PoolOptions(base_timeout=0, timeout_per_cost=1)
    with pooled(engines.Obedient, options) as pool:
        pool.start()
        asyncio.run(scene(pool))


def test_a_hang_does_not_hold_up_the_other_worker() -> None:
    async def scene(pool: TextPool) -> object:
        hanging = asyncio.ensure_future(submit(pool, "hang"))
        try:
            await in_thread(lambda: until(lambda: pool.workers_ready == 2 and not pool.waiting))
            return await asyncio.wait_for(submit(pool, "a"), PATIENCE_SECONDS)
        finally:
            hanging.cancel()

    with pooled(engines.Obedient, workers=2) as pool:
        pool.start()
        assert asyncio.run(scene(pool)) == "A"


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("missing", ModelNotInstalled, "Get it at example.com."),
        ("raise", EngineFailed, "did not load"),
        ("exit", EngineFailed, "died while loading: exited with status 9"),
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
        assert isinstance(found, EngineFailed)
        assert pool.state is PoolState.FAILED


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


def test_work_that_somebody_still_waits_for_goes_on(tmp_path: Path) -> None:
    """One of two gives up; the other's result comes from the same run."""

    async def scene(pool: TextPool) -> object:
        leaving, staying = (asyncio.ensure_future(submit(pool, item)) for item in ("a", "b"))
        await asyncio.sleep(0)
        pool.start()
        await in_thread(lambda: until(lambda: not pool.waiting))
        leaving.cancel()
        return await asyncio.wait_for(staying, PATIENCE_SECONDS)

    notes = tmp_path / "notes"
    options = PoolOptions(max_batch=2, replace_abandoned=True)
    with pooled(engines.Obedient, options, notes=str(notes)) as pool:
        assert asyncio.run(scene(pool)) == "B"
    assert notes.read_text(encoding="utf-8") == "a b\n"


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

    before = _children()
    with pooled(engines.Obedient) as pool:
        pool.start()
        found = asyncio.run(scene(pool))
        assert len(found) == 3
        assert all(isinstance(error, ShuttingDown) for error in found)
        assert _children() <= before
        pool.close()
        with pytest.raises(ShuttingDown):
            asyncio.run(submit(pool, "b"))


def test_closing_before_the_start_and_while_loading() -> None:
    before = _children()
    with pooled(engines.Echo) as pool:
        pass
    assert pool.state is PoolState.CLOSED
    with pooled(engines.Unloadable, how="hang") as pool:
        pool.start()
    assert _children() <= before


def _children() -> set[int]:
    """Worker processes; multiprocessing's own helper stays."""
    return {
        child.pid
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in _line(child)
    }


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


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
