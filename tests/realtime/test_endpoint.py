"""When it is asked whether a turn is complete, and what of the answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import numpy as np

from reflector_gpu.audio.vad import WINDOW
from reflector_gpu.realtime.endpoint import Endpoint
from reflector_gpu.types import SAMPLE_RATE, Samples

PAUSE = 7  # windows after which it is asked


class Listener:
    """Says ``answer``, and remembers what it heard."""

    def __init__(self, answer: bool | None) -> None:
        self.answer = answer
        self.heard: list[Samples] = []
        self.free = asyncio.Event()
        self.free.set()

    async def finished(self, samples: Samples) -> bool | None:
        self.heard.append(samples)
        await self.free.wait()
        return self.answer


def window(value: float) -> Samples:
    return np.full(WINDOW, value, np.float32)


def run(work: Coroutine[None, None, None]) -> None:
    async def alone() -> None:
        await work
        await asyncio.sleep(0)  # what was cancelled ends
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(alone())


async def pause(endpoint: Endpoint, windows: int) -> None:
    for silent in range(1, windows + 1):
        endpoint.hear(window(0), silent)
        await asyncio.sleep(0)


def test_it_is_asked_once_in_each_pause() -> None:
    async def spoken() -> None:
        listener = Listener(answer=False)
        endpoint = Endpoint(listener.finished)
        for _ in range(2):
            endpoint.hear(window(1), 0)
            assert await endpoint.reached() is None
            await pause(endpoint, PAUSE + 20)
            assert await endpoint.reached() is False
            assert await endpoint.reached() is False
        assert [len(samples) for samples in listener.heard] == [
            (1 + PAUSE) * WINDOW,
            (1 + PAUSE + 20 + 1 + PAUSE) * WINDOW,
        ]

    run(spoken())


def test_short_pauses_are_no_question() -> None:
    async def spoken() -> None:
        listener = Listener(answer=True)
        endpoint = Endpoint(listener.finished)
        endpoint.hear(window(1), 0)
        await pause(endpoint, PAUSE - 1)
        assert await endpoint.reached() is None
        assert not listener.heard

    run(spoken())


def test_an_answer_about_an_earlier_pause_does_not_count() -> None:
    async def spoken() -> None:
        listener = Listener(answer=True)
        listener.free.clear()
        endpoint = Endpoint(listener.finished)
        endpoint.hear(window(1), 0)
        await pause(endpoint, PAUSE)
        endpoint.hear(window(1), 0)
        listener.free.set()
        assert await endpoint.reached() is None

    run(spoken())


def test_a_turn_that_has_ended_is_forgotten() -> None:
    async def spoken() -> None:
        listener = Listener(answer=True)
        endpoint = Endpoint(listener.finished)
        endpoint.hear(window(1), 0)
        await pause(endpoint, PAUSE)
        endpoint.begin_anew()
        assert await endpoint.reached() is None
        endpoint.hear(window(2), 0)
        await pause(endpoint, PAUSE)
        assert await endpoint.reached() is True
        assert listener.heard[-1].max() == 2
        assert len(listener.heard[-1]) == (1 + PAUSE) * WINDOW

    run(spoken())


def test_no_more_than_eight_seconds_are_kept() -> None:
    async def spoken() -> None:
        listener = Listener(answer=None)
        endpoint = Endpoint(listener.finished)
        for _ in range(1000):
            endpoint.hear(window(1), 0)
        await pause(endpoint, PAUSE)
        assert await endpoint.reached() is None
        assert len(listener.heard[0]) == 8 * SAMPLE_RATE

    run(spoken())
