"""Workers that die or hang over a batch or while they wait, and no job that is lost over it."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from reflector_gpu.errors import (
    EngineFailed,
    InvalidRequest,
    ReflectorError,
    TooLarge,
)
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.watching import BatchDone
from reflector_gpu.types import Priority
from tests.processes import workers
from tests.runtime import engines
from tests.runtime.engines import recipe
from tests.runtime.pools import TextPool, in_thread, outcomes, pooled, state, submit
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow


def test_a_batch_whose_worker_dies_runs_again(tmp_path: Path) -> None:
    with pooled(engines.Obedient, PoolOptions(max_batch=4)) as pool:
        found = outcomes(pool, "a", f"once {tmp_path / 'flag'}", "b")
        assert found == ["A", "at the second try", "B"]
        assert pool.state is PoolState.READY


QUICK = PoolOptions(max_batch=4, first_backoff=0.01, longest_backoff=0.02)


@pytest.mark.parametrize("poison", ["exit", "abort", "leave"])
def test_what_crashes_the_engine_twice_alone_fails_alone(poison: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with pooled(engines.Obedient, QUICK, notes=str(notes)) as pool:
        a, b, bad, c = outcomes(pool, "a", "b", poison, "c")
        assert (a, b, c) == ("A", "B", "C")
        assert isinstance(bad, EngineFailed)
        assert "died twice" in bad.message
        assert asyncio.run(submit(pool, "still here")) == "STILL HERE"
    runs = notes.read_text(encoding="utf-8").splitlines()
    whole, half = f"a b {poison} c", f"{poison} c"
    assert runs == [whole, "a b", half, poison, poison, "c", "still here"]


def test_what_gets_the_engine_killed_a_fourth_time_fails_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with pooled(engines.Obedient, QUICK, notes=str(notes)) as pool:
        a, bad, b = outcomes(pool, "a", "kill", "b")
        assert (a, b) == ("A", "B")
        assert isinstance(bad, EngineFailed)
        assert "killed 4 times" in bad.message
    runs = notes.read_text(encoding="utf-8").splitlines()
    assert runs == ["a kill b", "a", "kill b", "kill", "kill", "b"]


@pytest.mark.parametrize("items", [["x"], ["x", "a"], ["a", "b", "x", "c"]])
def test_three_kills_from_outside_are_no_items_fault(items: list[str], tmp_path: Path) -> None:
    """As many as there can be: the worker is killed at its first three tries at one of them."""
    asked = [f"killed 3 {tmp_path}" if item == "x" else item for item in items]
    with pooled(engines.Obedient, QUICK) as pool:
        assert outcomes(pool, *asked) == ["heard" if i == "x" else i.upper() for i in items]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("kills", "survives"), [(5, True), (20, False)])
def test_kills_that_hit_loading_as_well_are_held_against_no_item_until_there_are_a_dozen(
    kills: int, survives: bool, tmp_path: Path
) -> None:
    """Every second kill comes while a worker loads, so the others are not in a row."""
    for number in range(kills):
        (tmp_path / f"{number:02}").touch()
    with pooled(engines.Hunted, QUICK, folder=str(tmp_path)) as pool:
        (found,) = outcomes(pool, "a")
    assert (found == "a") is survives
    left = len(list(tmp_path.iterdir()))
    assert left == 0 if survives else left == kills - 13


def test_a_worker_killed_three_times_while_it_loads_is_started_a_fourth_time(
    tmp_path: Path,
) -> None:
    kills = [tmp_path / str(number) for number in range(3)]
    for kill in kills:
        kill.touch()
    with pooled(engines.Condemned, QUICK, folder=str(tmp_path)) as pool:
        assert outcomes(pool, "a") == ["a"]
    assert list(tmp_path.iterdir()) == []


def test_workers_killed_one_after_the_other_are_replaced_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    options = PoolOptions(first_backoff=1, longest_backoff=3)
    with pooled(engines.Obedient, options) as pool:
        pool.start()
        pool.wait_ready(PATIENCE_SECONDS)
        monkeypatch.setattr(pool._readiness.closing, "wait", waited.append)
        kill, a, other = outcomes(pool, "kill", "a", "kill")
        assert a == "A"
        assert isinstance(kill, EngineFailed)
        assert isinstance(other, EngineFailed)
    # The fourth start after the first item is no retry. What is done after it gives new hope.
    assert waited[:7] == [0, 1, 2, 0, 0, 1, 2]


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
    with pooled(engines.Echo) as pool:
        ((*_, first),) = outcomes(pool, "a")
        os.kill(first, signal.SIGKILL)

        def replacements() -> set[int]:
            return {one.pid for one in workers(recipe(engines.Echo).engine)} - {first}

        until(lambda: replacements() and state(pool) == "ready")
        ((*_, second),) = outcomes(pool, "b")
        assert second in replacements()


def test_workers_that_die_before_they_have_work_are_replaced_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    options = PoolOptions(first_backoff=1, longest_backoff=3)
    with pooled(engines.Fleeting, options) as pool:
        monkeypatch.setattr(pool._readiness.closing, "wait", waited.append)
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


class FaultyWatcher:
    """Fails when the first batch is done."""

    def __init__(self) -> None:
        self.batches = 0

    def waited(self, pool: str, priority: Priority, seconds: float) -> None: ...
    def loaded(self, pool: str, seconds: float) -> None: ...
    def died(self, pool: str) -> None: ...

    def worked(self, pool: str, batch: BatchDone) -> None:
        self.batches += 1
        if self.batches == 1:
            raise RuntimeError("a bug")


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_bug_of_the_server_fails_its_batch_and_not_the_pool(
    lanes: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(pool: TextPool) -> object:
        with pytest.raises(EngineFailed, match="its log says why"):
            await submit(pool, "a")
        return await submit(pool, "b")

    made = replace(recipe(engines.Obedient, memory=0), lanes=lanes)
    pool: TextPool = Pool("test", [made], PoolOptions(), FaultyWatcher())
    pool.start()
    try:
        assert asyncio.run(asyncio.wait_for(scene(pool), PATIENCE_SECONDS)) == "B"
    finally:
        pool.close()
    assert "RuntimeError: a bug" in caplog.text
