"""A blocking iterator in a thread, consumed by an event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reflector_gpu.decoding.prefetching import SPARE_THREADS, join_all, prefetched
from reflector_gpu.decoding.threads import ThreadStream
from tests.waiting import PATIENCE_SECONDS, until


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scene()

    asyncio.run(limited())


@asynccontextmanager
async def stream(items: Iterator[int], ahead: int = 2) -> AsyncIterator[ThreadStream[int]]:
    source = ThreadStream(items, ahead=ahead, name="test-stream")
    try:
        yield source
    finally:
        source.close()


def alive() -> bool:
    return any(thread.name == "test-stream" for thread in threading.enumerate())


class Source:
    """Numbers, and what happened to whom asked for them."""

    def __init__(self, error: BaseException | None = None, last: int = 10**9) -> None:
        self.made = 0
        self.closed = False
        self.threads: set[str] = set()
        self._error = error
        self._last = last

    def items(self) -> Iterator[int]:
        try:
            while self.made < self._last:
                self.threads.add(threading.current_thread().name)
                self.made += 1
                yield self.made
            if self._error:
                raise self._error
        finally:
            self.closed = True
            self.threads.add(threading.current_thread().name)


@pytest.mark.parametrize("count", [0, 1, 100])
@pytest.mark.parametrize("ahead", [1, 3, 200])
def test_all_items_in_order(count: int, ahead: int) -> None:
    async def scene() -> None:
        async with stream(iter(range(count)), ahead) as source:
            assert [item async for item in source] == list(range(count))
            with pytest.raises(StopAsyncIteration):
                await anext(source)

    run(scene)


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_comes_after_the_items_before_it_and_stays(error: BaseException) -> None:
    async def scene() -> None:
        async with stream(Source(error, last=2).items()) as source:
            assert [await anext(source), await anext(source)] == [1, 2]
            for _ in range(2):
                with pytest.raises(type(error)) as found:
                    await anext(source)
                assert found.value is error

    run(scene)


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_the_thread_does_not_run_ahead(ahead: int) -> None:
    async def scene() -> None:
        numbers = Source()
        async with stream(numbers.items(), ahead) as source:
            for taken in range(5):
                await asyncio.to_thread(until, lambda: numbers.made == taken + ahead + 1)  # noqa: B023
                assert await anext(source) == taken + 1
            assert numbers.made <= 5 + ahead + 1

    run(scene)


def test_the_event_loop_is_free_while_the_thread_blocks() -> None:
    async def scene() -> None:
        gate = threading.Event()

        def items() -> Iterator[int]:
            gate.wait(PATIENCE_SECONDS)
            yield 1

        async with stream(items()) as source:
            waiting = asyncio.ensure_future(anext(source))
            await asyncio.sleep(0)
            assert not waiting.done()
            gate.set()
            assert await waiting == 1

    run(scene)


def test_closing_ends_the_thread_and_closes_the_generator_in_it() -> None:
    numbers = Source()

    async def scene() -> None:
        async with stream(numbers.items()) as source:
            assert await anext(source) == 1
        await asyncio.to_thread(until, lambda: not alive())

    gc.disable()
    try:
        run(scene)
        assert numbers.closed
    finally:
        gc.enable()
    assert numbers.threads == {"test-stream"}


def test_closing_before_the_first_item_and_twice() -> None:
    async def scene() -> None:
        source = ThreadStream(Source().items(), ahead=2, name="test-stream")
        source.close()
        source.close()
        await asyncio.to_thread(until, lambda: not alive())

    run(scene)


def test_a_consumer_that_is_cancelled_can_still_close() -> None:
    async def scene() -> None:
        gate = threading.Event()

        def items() -> Iterator[int]:
            gate.wait(PATIENCE_SECONDS)
            yield 1

        async with stream(items()) as source:
            waiting = asyncio.ensure_future(anext(source))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            gate.set()
            assert await anext(source) == 1

    run(scene)


def test_an_event_loop_that_is_gone_ends_the_thread() -> None:
    numbers = Source()

    async def leave() -> None:
        ThreadStream(numbers.items(), ahead=10**6, name="test-stream")

    asyncio.run(leave())
    until(lambda: numbers.closed)  # whether or not a thread has begun by now


def test_the_threads_of_closed_streams_can_be_waited_for() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        begun.set()
        go_on.wait(PATIENCE_SECONDS)
        yield 1

    async def scene() -> None:
        async with stream(items()):
            await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        go_on.set()
        await asyncio.to_thread(join_all, PATIENCE_SECONDS)
        assert not alive()

    run(scene)


def test_streams_that_follow_each_other_share_threads() -> None:
    threads: set[int] = set()

    def items() -> Iterator[int]:
        threads.add(threading.get_ident())
        yield 1

    async def scene() -> None:
        for _ in range(5 * SPARE_THREADS):
            async with stream(items()) as source:
                assert [item async for item in source] == [1]
            await asyncio.to_thread(join_all, PATIENCE_SECONDS)

    run(scene)
    assert len(threads) <= SPARE_THREADS + 1


def test_any_number_of_streams_run_at_once_and_few_threads_are_kept() -> None:
    many = 2 * SPARE_THREADS

    async def scene() -> None:
        together = threading.Barrier(many)

        def items() -> Iterator[int]:
            yield together.wait(PATIENCE_SECONDS)

        sources = [ThreadStream(items(), ahead=1, name="test-stream") for _ in range(many)]
        assert {await anext(source) for source in sources} == set(range(many))
        for source in sources:
            source.close()

    run(scene)
    until(lambda: not alive())
    names = [thread.name for thread in threading.enumerate()]
    assert 0 < names.count("spare") <= SPARE_THREADS


@pytest.mark.parametrize("count", [0, 2, 3, 100])
@pytest.mark.parametrize("ahead", [1, 4, 200])
def test_what_is_prefetched_comes_in_order(count: int, ahead: int) -> None:
    numbers = Source(last=count)
    assert list(prefetched(numbers.items(), after=2, ahead=ahead)) == list(range(1, count + 1))
    assert numbers.closed
    assert len(numbers.threads) == (1 if count <= 2 else 2)


def test_prefetching_does_not_run_further_ahead_than_it_may() -> None:
    numbers = Source()
    items = prefetched(numbers.items(), after=2, ahead=3)
    for taken in range(1, 10):
        assert next(items) == taken
        if taken > 2:
            until(lambda: numbers.made == taken + 3 + 1)  # noqa: B023
    items.close()  # type: ignore[attr-defined]  # a generator
    until(lambda: numbers.closed)
    assert numbers.made <= 9 + 3 + 2


@pytest.mark.parametrize("last", [1, 2, 3, 50])
def test_an_error_comes_after_what_was_prefetched(last: int) -> None:
    items = prefetched(Source(ValueError("bad"), last=last).items(), after=2, ahead=4)
    found: list[int] = []
    with pytest.raises(ValueError, match="bad"):
        found.extend(items)
    assert found == list(range(1, last + 1))
