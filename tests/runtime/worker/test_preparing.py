"""A batch is prepared while another is in work, whatever becomes of either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from reflector_gpu.errors import EngineFailed, ReflectorError, ShuttingDown, TooLarge
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.queue import Job
from reflector_gpu.types import Priority
from tests.runtime import engines
from tests.runtime.engines import recipe
from tests.waiting import PATIENCE_SECONDS, until

LIVE, FILE = Priority.LIVE, Priority.FILE
OPTIONS = PoolOptions(interruptible=False, first_backoff=0.01, longest_backoff=0.02)

AnyPool = Pool[object, object]
AnyJob = Job[object, object]


@contextmanager
def preparing(folder: Path, options: PoolOptions = OPTIONS, workers: int = 1) -> Iterator[AnyPool]:
    recipes = [recipe(engines.Preparing, memory=100, folder=str(folder))] * workers
    pool: AnyPool = Pool("test", recipes, options)
    (folder / "notes").touch()
    try:
        yield pool
    finally:
        pool.close()


def put(pool: AnyPool, *items: object, priority: Priority = FILE) -> list[AnyJob]:
    return [pool.put(item, "", cost=1, priority=priority) for item in items]


def outcome(job: AnyJob) -> object:
    error = job.future.exception(PATIENCE_SECONDS)
    return type(error) if error else job.future.result()


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text(encoding="utf-8").splitlines()


def test_the_next_batch_is_prepared_while_one_is_in_work(tmp_path: Path) -> None:
    """Each work goes on until the next batch is prepared: one after the other, it would hang."""
    with preparing(tmp_path) as pool:
        items = ["until prepare until prepare c", "until prepare c", "c"]
        jobs = put(pool, *items)
        pool.start()
        assert [outcome(job) for job in jobs] == [item.upper() for item in items]
    done = notes(tmp_path)
    for what in ("prepare", "work", "results"):
        assert [line for line in done if line.startswith(what)] == [f"{what} {i}" for i in items]


def test_the_next_batch_is_in_work_while_results_of_the_last_are_made(tmp_path: Path) -> None:
    with preparing(tmp_path) as pool:
        jobs = put(pool, "late until work b", "b")
        pool.start()
        assert [outcome(job) for job in jobs] == ["LATE UNTIL WORK B", "B"]


def test_arrays_of_two_batches_do_not_touch_each_other(tmp_path: Path) -> None:
    """Results are made of what the arrays hold after the next one has come."""
    sizes = range(40, 100)
    with preparing(tmp_path) as pool:
        jobs = put(pool, *(np.full(size, size, np.float32) for size in sizes))
        pool.start()
        assert [outcome(job) for job in jobs] == [size * size for size in sizes]


def test_what_comes_while_a_batch_is_in_work_is_prepared(tmp_path: Path) -> None:
    with preparing(tmp_path) as pool:
        pool.start()
        first = put(pool, "until prepare b")
        until(lambda: "work until prepare b" in notes(tmp_path))
        second = put(pool, "b")
        assert [outcome(job) for job in first + second] == ["UNTIL PREPARE B", "B"]


@pytest.mark.parametrize(("poison", "kind"), [("bad", TooLarge), ("spoilt", EngineFailed)])
def test_a_batch_that_fails_is_halved_and_the_one_behind_it_is_not_mixed_up(
    tmp_path: Path, poison: str, kind: type[ReflectorError]
) -> None:
    options = PoolOptions(max_batch=3, interruptible=False)
    with preparing(tmp_path, options) as pool:
        jobs = put(pool, "a", poison, "b", "c", "d", "e", "f")
        pool.start()
        assert [outcome(job) for job in jobs] == ["A", kind, "B", "C", "D", "E", "F"]


def test_a_worker_that_dies_takes_no_job_along(tmp_path: Path) -> None:
    """It dies over the first batch once the second is prepared, and over the third for good."""
    with preparing(tmp_path) as pool:
        jobs = put(pool, "once upon", "b", "fatal", "c", "d")
        pool.start()
        assert [outcome(job) for job in jobs] == ["ONCE UPON", "B", EngineFailed, "C", "D"]


def test_an_item_that_cannot_be_sent_fails_alone(tmp_path: Path) -> None:
    with preparing(tmp_path) as pool:
        jobs = put(pool, "a", lambda: None, "b")
        pool.start()
        assert [outcome(job) for job in jobs] == ["A", EngineFailed, "B"]


def test_what_is_given_up_after_it_was_prepared_leaves_the_others_their_results(
    tmp_path: Path,
) -> None:
    with preparing(tmp_path) as pool:
        jobs = put(pool, "until prepare b", "b")
        pool.start()
        until(lambda: "prepare b" in notes(tmp_path) or jobs[0].future.done())
        jobs[1].abandon()
        later = put(pool, "c", "d")
        assert [outcome(job) for job in later] == ["C", "D"]


def test_closing_answers_what_was_taken_early(tmp_path: Path) -> None:
    with preparing(tmp_path) as pool:
        jobs = put(pool, "until never", "b", "c")
        pool.start()
        until(lambda: "prepare b" in notes(tmp_path))
        jobs[0].abandon()
        pool.close()
        assert [outcome(job) for job in jobs[1:]] == [ShuttingDown, ShuttingDown]


def test_a_small_batch_is_not_taken_early(tmp_path: Path) -> None:
    """It would grow while it waits: three are in work, and one waits."""
    options = PoolOptions(max_batch=4, interruptible=False)
    with preparing(tmp_path, options) as pool:
        first = put(pool, "a", "b", "until prepare go")
        pool.start()
        until(lambda: "work a+b+until prepare go" in notes(tmp_path))
        second = put(pool, "c")
        (tmp_path / "notes").write_text("prepare go\n")
        assert [outcome(job) for job in first + second] == ["A", "B", "UNTIL PREPARE GO", "C"]
    done = notes(tmp_path)
    assert done.index("prepare c") > done.index("results a+b+until prepare go")


LIVE_APART = PoolOptions(max_batch=4, for_live=1, max_live_cost=2)


def test_live_requests_have_a_worker_of_their_own(tmp_path: Path) -> None:
    """Files keep the other busy, and wait for live ones: on one worker this would hang."""
    with preparing(tmp_path, LIVE_APART, workers=2) as pool:
        pool.start()
        until(lambda: pool.workers_ready == 2)
        files = put(pool, "until work x+y", "b", "c", "d", "e", "f", "g", "h", "i")
        until(lambda: "work until work x+y+b+c+d" in notes(tmp_path))
        live = put(pool, "w", priority=LIVE)
        assert [outcome(job) for job in live] == ["W"]
        assert not files[4].future.done(), "the worker for live requests leaves files alone"
        live = put(pool, "until work go", priority=LIVE)
        until(lambda: "work until work go" in notes(tmp_path))
        live += put(pool, "x", "y", "z", priority=LIVE)
        with (tmp_path / "notes").open("a", encoding="utf-8") as file:
            file.write("work go\n")
        assert [outcome(job) for job in live] == ["UNTIL WORK GO", "X", "Y", "Z"]
        assert all(isinstance(outcome(job), str) for job in files)
    worked = [line for line in notes(tmp_path) if line.startswith("work ")]
    assert {"work x+y", "work z"} <= set(worked), "batches of live requests are small"
    assert worked[0].count("+") == 4, "those of files are not"


def test_without_other_workers_the_one_for_live_requests_works_on_files(tmp_path: Path) -> None:
    with preparing(tmp_path, LIVE_APART) as pool:
        jobs = put(pool, "a", "b")
        pool.start()
        assert [outcome(job) for job in jobs] == ["A", "B"]
