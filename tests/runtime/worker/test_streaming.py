"""Parts of results that come ahead of them, and what becomes of them when the worker dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from reflector_gpu.errors import EngineFailed, TooLarge
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.worker import Worker, WorkerDied
from reflector_gpu.types import Priority
from tests.processes import workers
from tests.runtime import engines
from tests.waiting import PATIENCE_SECONDS, until

TextPool = Pool[str, Any]


class Progress(Protocol):
    def say(self, index: int, part: object) -> bool: ...


class Speller(engines.Engine):
    """Says each letter of an item, one of every item after the other.

    ``!`` ends the process where it stands, ``?`` fails the batch, each as long as the file
    ``flag`` is there; ``#`` cannot be read; ``*`` goes on until nobody wants to hear it. What runs
    is noted.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def run(self, items: Sequence[str], options: object, progress: Progress) -> list[object]:
        with (self._folder / "notes").open("a", encoding="utf-8") as file:
            file.write(f"{' '.join(items)}\n")
        done = [0] * len(items)
        for place in range(max(map(len, items))):
            for index, item in enumerate(items):
                letter = item[place : place + 1]
                self._obey(letter)
                while letter == "*" and not progress.say(index, letter):
                    done[index] += 1
                if letter == "#":
                    progress.say(index, engines.Unreadable())
                elif letter not in ("", "*", "!", "?"):
                    progress.say(index, letter)
                    done[index] += 1
        return list(done)

    def _obey(self, letter: str) -> None:
        if letter in ("!", "?") and (self._folder / "flag").exists():
            if letter == "?":
                raise TooLarge("All of it is too large.")
            (self._folder / "flag").unlink()
            os._exit(3)


def recipe(folder: Path) -> Recipe:
    engine = f"{__name__}:{Speller.__name__}"
    return Recipe(engine, "run", arguments={"folder": str(folder)}, streams=True)


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text(encoding="utf-8").splitlines()


@contextmanager
def working(folder: Path) -> Iterator[Worker]:
    worker = Worker(recipe(folder))
    try:
        yield worker
    finally:
        worker.stop()


@contextmanager
def pooled(folder: Path, *, replace_abandoned: bool = False) -> Iterator[TextPool]:
    options = PoolOptions(max_batch=4, replace_abandoned=replace_abandoned)
    pool: TextPool = Pool("test", [recipe(folder)], options)
    try:
        yield pool
    finally:
        pool.close()


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    @property
    def text(self) -> str:
        return "".join(map(str, self.heard))


def submit(pool: TextPool, item: str, listener: Listener | None = None) -> asyncio.Future[Any]:
    hear = listener.heard.append if listener else None
    return asyncio.ensure_future(
        pool.submit(item, "", cost=1.0, priority=Priority.LIVE, listener=hear)
    )


async def together(pool: TextPool, *jobs: tuple[str, Listener | None]) -> list[Any]:
    """What becomes of ``jobs`` that all wait when the pool starts."""
    tasks = [submit(pool, item, listener) for item, listener in jobs]
    await asyncio.sleep(0)
    pool.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asyncio.gather(*tasks, return_exceptions=True)


def test_a_worker_tells_parts_in_order_before_the_results(tmp_path: Path) -> None:
    heard: list[tuple[int, object]] = []
    with working(tmp_path) as worker:
        found = worker.run(
            Batch(
                items=["ab", "xyz", "c"],
                timeout=PATIENCE_SECONDS,
                listeners={
                    0: lambda part: heard.append((0, part)),
                    1: lambda part: heard.append((1, part)),
                },
            )
        )
        assert list(found) == [2, 3, 1]
        assert heard == [(0, "a"), (1, "x"), (0, "b"), (1, "y"), (1, "z")]
        assert list(worker.run(Batch(items=["ab"], timeout=PATIENCE_SECONDS))) == [2]


def test_a_worker_learns_in_the_middle_which_items_were_given_up(tmp_path: Path) -> None:
    """What comes too late for its batch does not count for the next."""
    heard: list[object] = []
    with working(tmp_path) as worker:
        for _ in range(2):
            found = worker.run(
                Batch(
                    items=["ab*", "xyz"],
                    timeout=PATIENCE_SECONDS,
                    listeners={0: heard.append},
                    given_up=lambda: [0] if heard.count("*") > 3 else [],
                )
            )
            assert found[0] > 3  # type: ignore[operator]  # an int
            assert found[1] == 3
            heard.clear()
        again = worker.run(Batch(items=["ab"], timeout=PATIENCE_SECONDS, given_up=lambda: [0]))
        assert list(again) == [2]


def test_a_worker_that_hangs_in_the_middle_of_a_stream_is_ended(tmp_path: Path) -> None:
    with working(tmp_path) as worker, pytest.raises(WorkerDied, match="hung"):
        worker.run(Batch(items=["*"], timeout=0.3, listeners={0: lambda _: None}))


def test_a_listener_hears_its_own_parts_before_its_result(tmp_path: Path) -> None:
    first, second = Listener(), Listener()

    async def scene(pool: TextPool) -> None:
        found = await together(pool, ("hello", first), ("you", second), ("quiet", None))
        assert found == [5, 3, 5]
        assert (first.text, second.text) == ("hello", "you")

    with pooled(tmp_path) as pool:
        asyncio.run(scene(pool))
    assert notes(tmp_path) == ["hello you quiet"]


def test_a_streamed_item_is_not_run_again_when_the_worker_dies(tmp_path: Path) -> None:
    (tmp_path / "flag").touch()
    begun, unheard = Listener(), Listener()

    async def scene(pool: TextPool) -> None:
        broken, poison, good = await together(
            pool, ("abc", begun), ("!xy", unheard), ("silent", None)
        )
        assert isinstance(broken, EngineFailed)
        assert "in the middle" in broken.message
        assert (poison, good) == (2, 6)
        assert (begun.text, unheard.text) == ("a", "xy")

    with pooled(tmp_path) as pool:
        asyncio.run(scene(pool))
    assert notes(tmp_path) == ["abc !xy silent", "!xy silent"]


def test_a_streamed_item_is_not_run_again_when_the_engine_refuses_the_batch(tmp_path: Path) -> None:
    (tmp_path / "flag").touch()
    begun = Listener()

    async def scene(pool: TextPool) -> None:
        broken, poison, good = await together(pool, ("abc", begun), ("x?", None), ("silent", None))
        assert isinstance(broken, EngineFailed)
        assert isinstance(poison, TooLarge)
        assert good == 6
        assert begun.text == "ab"

    with pooled(tmp_path) as pool:
        asyncio.run(scene(pool))
    assert notes(tmp_path) == ["abc x? silent", "x? silent", "x?", "silent"]


@pytest.mark.parametrize("replace_abandoned", [False, True])
def test_cancelling_one_of_a_batch_ends_its_part_of_the_work_and_not_the_others(
    tmp_path: Path, replace_abandoned: bool
) -> None:
    """The engine hears who has left only after the pool has looked whether all have."""
    endless, other = Listener(), Listener()

    async def scene(pool: TextPool) -> None:
        leaving, staying = submit(pool, "*", endless), submit(pool, "xyz", other)
        await asyncio.sleep(0)
        pool.start()
        await asyncio.to_thread(until, lambda: endless.heard)
        leaving.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await staying == 3
        assert other.text == "xyz"
        assert pool.workers_ready == 1

    with pooled(tmp_path, replace_abandoned=replace_abandoned) as pool:
        asyncio.run(scene(pool))
    assert notes(tmp_path) == ["* xyz"]


@pytest.mark.slow
def test_an_item_that_is_waited_for_runs_again_though_another_was_given_up(
    tmp_path: Path,
) -> None:
    (tmp_path / "flag").touch()

    async def scene(pool: TextPool) -> None:
        leaving, staying = submit(pool, "*"), submit(pool, "x!")
        await asyncio.sleep(0)
        pool.start()
        await asyncio.to_thread(until, (tmp_path / "notes").exists)
        leaving.cancel()  # only then does the engine come to what ends its process
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await staying == 1

    with pooled(tmp_path) as pool:
        asyncio.run(scene(pool))
    assert notes(tmp_path) == ["* x!", "x!"]


@pytest.mark.slow
def test_a_part_that_can_not_be_read_does_not_mix_up_what_comes_after(tmp_path: Path) -> None:
    with pooled(tmp_path) as pool:

        async def scene() -> None:
            (broken,) = await together(pool, ("a#bc", Listener()))
            assert isinstance(broken, EngineFailed)
            again = Listener()
            assert await together(pool, ("xyz", again)) == [3]
            assert again.text == "xyz"

        asyncio.run(scene())


def test_a_caller_that_left_gets_no_parts(tmp_path: Path) -> None:
    """The event loop is gone; the same worker goes on for the next one."""
    endless = Listener()

    async def leave(pool: TextPool) -> None:
        task = submit(pool, "*", endless)
        await asyncio.to_thread(until, lambda: endless.heard)
        task.cancel()

    async def come(pool: TextPool) -> object:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await submit(pool, "abc")

    with pooled(tmp_path) as pool:
        pool.start()
        pool.wait_ready(PATIENCE_SECONDS)
        before = workers(recipe(tmp_path).engine)
        asyncio.run(leave(pool))
        assert asyncio.run(come(pool)) == 3
        assert workers(recipe(tmp_path).engine) == before
