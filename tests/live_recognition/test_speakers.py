"""Speakers of a session, found in threads: what reaches the diarizer, and what its failures do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reflector_gpu.errors import EngineFailed
from reflector_gpu.live.speakers import ThreadedSpeakers
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.waiting import PATIENCE_SECONDS

SECOND = np.ones(SAMPLE_RATE, np.float32)


class Diarizer:
    """Notes what it gets. It fails on its first samples with ``failure``, if there is one."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.got: list[tuple[str, int]] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Event()
        self.users = self.most_users = 0
        self._failure = failure

    def push(self, samples: Samples) -> None:
        self.users += 1
        self.most_users = max(self.users, self.most_users)
        self.begun.set()
        self.open.wait(PATIENCE_SECONDS)
        self.users -= 1
        if self._failure:
            raise self._failure
        self.got.append(("heard", len(samples) // SAMPLE_RATE))

    def skip(self, samples: int) -> None:
        self.got.append(("silent", samples // SAMPLE_RATE))

    def speaker(self, start: float, end: float) -> int | None:
        return round(start)

    def finish(self, options: DiarizeOptions) -> Sequence[SpeakerTurn]:
        return [SpeakerTurn(0.0, 1.0, 0)]


def run(diarizer: Diarizer, talk: Callable[[ThreadedSpeakers], Awaitable[None]]) -> None:
    async def talked(threads: ThreadPoolExecutor) -> None:
        speakers = ThreadedSpeakers(lambda: diarizer, threads)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await talk(speakers)
        await speakers.aclose()
        assert len(asyncio.all_tasks()) == 1

    with ThreadPoolExecutor(2) as threads:
        asyncio.run(talked(threads))


def test_what_is_left_out_is_silence() -> None:
    diarizer = Diarizer()

    async def talk(speakers: ThreadedSpeakers) -> None:
        speakers.push(0, SECOND)
        speakers.push(10 * SAMPLE_RATE, SECOND)
        assert await speakers.speaker(10.0, 11.0) == 10
        assert await speakers.corrected(len) == 1

    run(diarizer, talk)
    assert diarizer.got == [("heard", 1), ("silent", 9), ("heard", 1)]


@pytest.mark.parametrize("failure", [EngineFailed("no memory"), ValueError("a bug")])
def test_after_a_failure_audio_is_dropped_and_nobody_waits(failure: Exception) -> None:
    async def talk(speakers: ThreadedSpeakers) -> None:
        for second in range(60):
            speakers.push(second * SAMPLE_RATE, SECOND)
            await speakers.room()
        with pytest.raises(EngineFailed):
            await speakers.speaker(0.0, 1.0)
        with pytest.raises(EngineFailed):
            await speakers.corrected(len)

    run(Diarizer(failure), talk)


def test_a_caller_who_leaves_loses_no_audio_and_nobody_joins_a_thread_at_work() -> None:
    diarizer = Diarizer()
    diarizer.open.clear()

    async def talk(speakers: ThreadedSpeakers) -> None:
        speakers.push(0, SECOND)
        asking = asyncio.create_task(speakers.speaker(0.0, 1.0))
        await asyncio.to_thread(diarizer.begun.wait, 30)
        asking.cancel()
        await asyncio.wait({asking})
        speakers.push(SAMPLE_RATE, SECOND)
        again = asyncio.create_task(speakers.speaker(1.0, 2.0))
        await asyncio.sleep(0)
        diarizer.open.set()
        assert await again == 1

    run(diarizer, talk)
    assert diarizer.got == [("heard", 1), ("heard", 1)]
    assert diarizer.most_users == 1
