"""One engine in a process: what reaches it, what comes back, and every way it can end."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest

from reflector_gpu import errors
from reflector_gpu.errors import (
    EngineFailed,
    InvalidRequest,
    ModelNotInstalled,
    Overloaded,
    ReflectorError,
    TooLarge,
)
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.worker import Abandoned, Worker, WorkerDied
from tests.processes import workers
from tests.runtime import engines
from tests.runtime.engines import recipe
from tests.waiting import PATIENCE_SECONDS, until


@contextmanager
def running(engine: type, *, memory: int = 0, **arguments: str) -> Iterator[Worker]:
    worker = Worker(recipe(engine, memory=memory, **arguments))
    try:
        yield worker
    finally:
        worker.stop()
        assert not worker.alive


def run(worker: Worker, *items: object, options: object = None) -> list[Any]:
    return list(worker.run(Batch(items=items, options=options, timeout=PATIENCE_SECONDS)))


@pytest.fixture(scope="module")
def echo() -> Iterator[Worker]:
    with running(engines.Echo, memory=100) as worker:
        yield worker


@pytest.fixture(scope="module")
def obedient() -> Iterator[Worker]:
    """Only for what it survives."""
    with running(engines.Obedient) as worker:
        yield worker


@pytest.mark.parametrize(
    "item", ["text", b"bytes", 7, None, ("a", "b"), (0, 5), {"a": [1]}, (), "x" * 10_000_000]
)
def test_anything_that_can_be_pickled_reaches_the_engine(item: object, echo: Worker) -> None:
    ((found, options, count, pid),) = run(echo, item, options=("o", 1))
    assert (found, options, count, pid) == (item, ("o", 1), 1, echo.pid)


def test_results_are_in_order(echo: Worker) -> None:
    found = run(echo, *range(50))
    assert [item for item, *_ in found] == list(range(50))


def test_no_items(echo: Worker) -> None:
    assert run(echo) == []


def test_a_process_has_the_variables_of_its_recipe_and_ours_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    there = {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "1"}
    changed: list[bytes] = []  # other threads would see it, were it only for a moment
    monkeypatch.setattr(os, "putenv", lambda name, value: changed.append(name))
    monkeypatch.setattr(os, "unsetenv", changed.append)
    worker = Worker(replace(recipe(engines.Environment), environment=there))
    try:
        assert run(worker, *there, "HOME") == ["3", "1", os.environ.get("HOME")]
    finally:
        worker.stop()
    assert changed == []
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.fixture(scope="module")
def arrays() -> Iterator[Worker]:
    with running(engines.Arrays, memory=1_000) as worker:
        yield worker


@pytest.mark.parametrize(
    "sizes",
    [[0], [1], [1_000], [1_001], [400, 600], [400, 601], [600, 600, 400], [0, 1_000, 0], [10**6]],
)
def test_arrays_arrive_whether_they_fit_into_shared_memory_or_not(
    sizes: list[int], arrays: Worker
) -> None:
    items = [np.full(size, i + 1, np.float32) for i, size in enumerate(sizes)]
    for item, (total, shape, kind, _) in zip(items, run(arrays, *items), strict=True):
        assert (total, shape, kind) == (float(item.sum()), item.shape, "float32")


def test_shared_memory_can_not_be_written_by_the_engine(arrays: Worker) -> None:
    ((*_, writable),) = run(arrays, np.ones(5, np.float32))
    assert not writable


@pytest.mark.parametrize(
    "array",
    [np.ones((3, 4), np.float32), np.ones(7), np.ones(7, np.int16), np.ones((), np.float32)],
    ids=["matrix", "double", "integers", "scalar"],
)
def test_other_arrays_stay_what_they_are(
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], arrays: Worker
) -> None:
    ((total, shape, kind, _),) = run(arrays, array)
    assert (total, shape, kind) == (float(array.sum()), array.shape, str(array.dtype))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_an_open_file_crosses_and_is_closed_again() -> None:
    with running(engines.Reader) as worker, TemporaryFile() as first, TemporaryFile() as second:
        first.write(b"one")
        second.write(b"two")
        first.flush()
        second.flush()
        letters = [engines.Letter(first.fileno()), engines.Letter(second.fileno())]
        found = [run(worker, *letters) for _ in range(3)]
        assert [text for text, _ in found[0]] == [b"one", b"two"]
        assert found[0] == found[1] == found[2]


def test_one_bad_item_is_an_answer_like_any_other(obedient: Worker) -> None:
    first, second, third = run(obedient, "a", "refuse", "b")
    assert (first, third) == ("A", "B")
    assert isinstance(second, InvalidRequest)
    assert (second.message, second.param) == ("This one is bad.", "chunk")


def test_a_domain_error_keeps_its_fields_across_processes(obedient: Worker) -> None:
    with pytest.raises(TooLarge) as failure:
        run(obedient, "a", "refuse all")
    assert (failure.value.message, failure.value.param) == ("All of it is too large.", "file")


def _kinds(kind: type[ReflectorError]) -> Iterator[type[ReflectorError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _kinds(below)


@pytest.mark.parametrize("kind", list(_kinds(ReflectorError)), ids=lambda kind: kind.__name__)
def test_every_error_can_be_pickled(kind: type[ReflectorError]) -> None:
    arguments = {"retry_after": 7.5} if "retry_after" in kind.__init__.__annotations__ else {}
    error = kind("Something.", param="file", **arguments)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert vars(copy) == vars(error)
    assert str(copy) == str(error) == "Something."
    assert copy.code == error.code


def test_an_overload_keeps_when_to_come_back() -> None:
    copy = pickle.loads(pickle.dumps(Overloaded("Full.", retry_after=7.5)))
    assert copy.retry_after == 7.5


@pytest.mark.parametrize("item", ["raise", "raise odd", "unpicklable", "unreadable"])
def test_a_failure_of_the_engines_library_is_reported_and_survived(
    item: str, obedient: Worker
) -> None:
    with pytest.raises(EngineFailed) as failure:
        run(obedient, "a", item)
    assert "secret" not in failure.value.message
    assert run(obedient, "still here") == ["STILL HERE"]


@pytest.mark.parametrize("item", [lambda: None, engines.Unreadable()], ids=["lambda", "unreadable"])
def test_an_item_that_can_not_be_sent(item: object) -> None:
    with running(engines.Echo) as worker, pytest.raises((EngineFailed, WorkerDied)):
        run(worker, item)


@pytest.mark.parametrize("engine", [engines.Miscounting, engines.NoList])
def test_a_wrong_number_of_results_is_no_answer(engine: type) -> None:
    with running(engine) as worker, pytest.raises(EngineFailed):
        run(worker, "a", "b")


@pytest.mark.parametrize(
    ("item", "cause"),
    [
        ("exit", "exited with status 3"),
        ("leave", "exited with status 4"),
        ("abort", "killed by SIGABRT"),
        ("kill", "killed by SIGKILL"),
        ("odd signal", "killed by signal"),
    ],
)
def test_a_process_that_ends_is_noticed(item: str, cause: str) -> None:
    with running(engines.Obedient) as worker:
        with pytest.raises(WorkerDied, match=cause):
            run(worker, "a", item)
        assert not worker.alive
        with pytest.raises(WorkerDied, match=cause):
            run(worker, "a")


def test_a_hang_is_ended() -> None:
    with running(engines.Obedient) as worker:
        with pytest.raises(WorkerDied, match="hung"):
            worker.run(Batch(items=["hang"], timeout=0.1))
        assert not worker.alive


def test_a_stopped_process_that_reads_nothing_any_more_is_ended() -> None:
    with running(engines.Echo) as worker:
        assert worker.pid
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerDied, match="hung"):
            worker.run(Batch(items=["x" * 10_000_000], timeout=0.1))
        assert not worker.alive


def test_work_that_nobody_waits_for_is_ended() -> None:
    asked = iter([False, True])
    with running(engines.Obedient) as worker:
        with pytest.raises(Abandoned):
            worker.run(
                Batch(items=["hang"], timeout=PATIENCE_SECONDS, abandoned=lambda: next(asked))
            )
        assert not worker.alive


def test_a_process_that_ends_while_idle_is_noticed_at_the_next_batch() -> None:
    with running(engines.Fleeting) as worker:
        until(lambda: not worker.alive)
        with pytest.raises(WorkerDied, match="status 5"):
            run(worker, "a")


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("missing", ModelNotInstalled, "Get it at example.com."),
        ("raise", EngineFailed, "did not load: RuntimeError"),
        ("exit", WorkerDied, "status 9"),
    ],
)
def test_an_engine_that_does_not_load(how: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as failure:
        Worker(recipe(engines.Unloadable, how=how))
    until(lambda: not workers(recipe(engines.Unloadable).engine))
    if isinstance(failure.value, ModelNotInstalled):
        assert (failure.value.retry_after, failure.value.param) == (77, "model")


@pytest.mark.parametrize("engine", ["no_such_module:X", "tests.runtime.engines:NoSuchEngine"])
def test_an_engine_that_does_not_exist(engine: str) -> None:
    with pytest.raises(EngineFailed, match="did not load"):
        Worker(Recipe(engine, "run"))


def _start_impatiently() -> Worker:
    return Worker(recipe(engines.Unloadable, how="hang"), load_timeout=0.1)


def _start_and_change_ones_mind() -> Worker:
    return Worker(recipe(engines.Unloadable, how="hang"), abandoned=lambda: True)


@pytest.mark.parametrize(
    ("start", "kind"), [(_start_impatiently, WorkerDied), (_start_and_change_ones_mind, Abandoned)]
)
def test_an_engine_that_loads_forever_is_ended(
    start: Callable[[], Worker], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        start()
    until(lambda: not workers(recipe(engines.Unloadable).engine))


def test_stopping_twice_is_harmless() -> None:
    worker = Worker(recipe(engines.Echo))
    worker.stop()
    worker.stop()
    assert not worker.alive


AT_ONCE = """
    from concurrent.futures import ThreadPoolExecutor
    from reflector_gpu.runtime.worker import Worker
    from tests.runtime import engines

    recipe = engines.recipe(engines.Echo, memory=10_000_000)
    with ThreadPoolExecutor() as threads:
        workers = [each.result() for each in [threads.submit(Worker, recipe) for _ in range(4)]]
    for worker in workers:
        worker.stop()
    print(len(workers))
"""


def test_workers_do_not_need_the_shared_memory_that_containers_have_little_of() -> None:
    alone = ["unshare", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    if not shutil.which("unshare") or subprocess.run([*alone, mount], check=False).returncode:
        pytest.skip("only root can have a /dev/shm of its own")
    done = subprocess.run(
        [*alone, f'{mount} && exec "$0" -c "$1"', sys.executable, textwrap.dedent(AT_ONCE)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout == b"4\n"
