"""Items side by side on one worker: none waits for another, and none is lost over another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reflector_gpu.errors import EngineFailed, InvalidRequest, ShuttingDown
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.queue import Job
from reflector_gpu.runtime.worker import Worker
from reflector_gpu.types import Priority
from tests.runtime import engines
from tests.runtime.engines import recipe
from tests.runtime.pools import TextPool, outcomes, pooled, submit
from tests.waiting import PATIENCE_SECONDS, until

QUICK = PoolOptions(max_batch=2, first_backoff=0.01, longest_backoff=0.02)


@pytest.fixture
def pool() -> Iterator[TextPool]:
    with pooled(engines.Obedient, QUICK, lanes=2) as pool:
        pool.start()
        yield pool


def put(pool: TextPool, item: str, priority: Priority = Priority.LIVE) -> Job[object, Any]:
    return pool.put(item, "", cost=1, priority=priority)


def held(pool: TextPool, flag: Path) -> Job[object, Any]:
    """A piece of a long file, which takes until ``flag`` exists."""
    return put(pool, f"wait for {flag}", Priority.FILE)


def result(job: Job[object, Any]) -> object:
    return job.future.result(PATIENCE_SECONDS)


def begun(flag: Path) -> bool:
    return flag.with_suffix(".begun").exists()


def test_a_live_item_does_not_wait_for_the_piece_of_a_file_beside_it(
    pool: TextPool, tmp_path: Path
) -> None:
    flag = tmp_path / "a"
    piece = held(pool, flag)
    until(lambda: begun(flag))
    assert [result(put(pool, item)) for item in ("x", "y", "z")] == ["X", "Y", "Z"]
    assert not piece.future.done()
    flag.touch()
    assert result(piece) == "a"


def test_a_file_has_all_lanes_while_nobody_else_comes(pool: TextPool, tmp_path: Path) -> None:
    result(put(pool, "its own first piece"))
    flags = [tmp_path / name for name in "abc"]
    pieces = [held(pool, flag) for flag in flags]
    until(lambda: begun(flags[0]) and begun(flags[1]))
    flags[1].touch()
    until(lambda: begun(flags[2]))  # it takes the place of the one that ended, not of the batch
    flags[0].touch()
    flags[2].touch()
    assert [result(piece) for piece in pieces] == ["a", "b", "c"]


def test_while_live_requests_keep_coming_files_leave_one_lane_to_them(
    pool: TextPool, tmp_path: Path
) -> None:
    for _ in range(2):
        result(put(pool, "somebody"))
    flags = [tmp_path / name for name in "ab"]
    pieces = [held(pool, flag) for flag in flags]
    until(lambda: begun(flags[0]))
    assert result(put(pool, "x")) == "X"
    assert pool.waiting == 1
    flags[0].touch()
    until(lambda: begun(flags[1]))
    assert result(put(pool, "y")) == "Y"
    flags[1].touch()
    assert [result(piece) for piece in pieces] == ["a", "b"]


def test_items_of_different_options_run_side_by_side(pool: TextPool, tmp_path: Path) -> None:
    flag = tmp_path / "a"
    piece = held(pool, flag)
    until(lambda: begun(flag))
    assert asyncio.run(submit(pool, "b", group="other")) == "B"
    flag.touch()
    assert result(piece) == "a"


@pytest.mark.parametrize("poison", ["exit", "kill"])
def test_what_ends_the_worker_fails_alone(poison: str, tmp_path: Path) -> None:
    flag = tmp_path / "a"
    with pooled(engines.Obedient, QUICK, lanes=2) as pool:
        pool.start()
        beside = held(pool, flag)
        until(lambda: begun(flag))
        bad, after = put(pool, poison), put(pool, "b")
        flag.touch()
        assert [result(beside), result(after)] == ["a", "B"]
        assert isinstance(bad.future.exception(PATIENCE_SECONDS), EngineFailed)


def test_what_hangs_fails_and_the_others_are_answered() -> None:
    options = PoolOptions(max_batch=2, base_timeout=0.5, timeout_per_cost=0, first_backoff=0.01)
    with pooled(engines.Obedient, options, lanes=2) as pool:
        hung, a, b = outcomes(pool, "hang", "a", "b")
    assert isinstance(hung, EngineFailed)
    assert (a, b) == ("A", "B")


def test_errors_of_single_items(pool: TextPool) -> None:
    refused, failed, garbled, fine = (
        put(pool, item).future for item in ("refuse", "raise", "unreadable", "fine")
    )
    assert isinstance(refused.exception(PATIENCE_SECONDS), InvalidRequest)
    assert "RuntimeError" in str(failed.exception(PATIENCE_SECONDS))
    assert "cannot be read" in str(garbled.exception(PATIENCE_SECONDS))
    assert fine.result(PATIENCE_SECONDS) == "FINE"


def test_an_item_that_cannot_reach_the_worker_fails_alone(pool: TextPool) -> None:
    bad = pool.put(lambda: None, "", cost=1, priority=Priority.LIVE)
    assert "cannot reach the engine" in str(bad.future.exception(PATIENCE_SECONDS))
    assert result(put(pool, "a")) == "A"


def test_engines_that_answer_with_the_wrong_number_of_results() -> None:
    with pooled(engines.Miscounting, QUICK, lanes=2) as pool:
        (found,) = outcomes(pool, "a")
    assert "wrong number" in str(found)


def test_closing_ends_what_nobody_waits_for(tmp_path: Path) -> None:
    with pooled(engines.Obedient, QUICK, lanes=2) as pool:
        pool.start()
        hung = held(pool, tmp_path / "never")
        until(lambda: begun(tmp_path / "never"))
        hung.abandon()
        waiting = [put(pool, "hang") for _ in range(2)]
        for job in waiting:
            job.abandon()
        pool.close()
        with pytest.raises(ShuttingDown):
            put(pool, "a")


def test_each_lane_has_its_own_shared_memory() -> None:
    worker = Worker(replace(recipe(engines.Arrays, memory=20), lanes=2))
    try:
        worker.begin(0, np.full(10, 1, np.float32), "")
        worker.begin(1, np.full(11, 2, np.float32), "")  # longer than its lane: it goes by the pipe
        found: dict[int, object] = {}

        def ended() -> bool:
            if news := worker.next_end(PATIENCE_SECONDS):
                found[news[0]] = news[1]
            return len(found) == 2

        until(ended)
        assert found == {
            0: (10.0, (10,), "float32", False),
            1: (22.0, (11,), "float32", True),
        }
    finally:
        worker.stop()
