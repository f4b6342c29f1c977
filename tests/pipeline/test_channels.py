"""How many channels are decoded at once."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import Told
from reflector_gpu.decoding.tasks import Chunking, Surveying
from reflector_gpu.decoding.threads import ThreadDecoders
from reflector_gpu.pipeline.channels import transcribe_channels
from reflector_gpu.pipeline.places import Places
from reflector_gpu.pipeline.transcription import Plan, collect
from reflector_gpu.testing import FakeSubmit, HeldSubmit
from reflector_gpu.types import SAMPLE_RATE, Priority, Recognition, Samples, TranscribeOptions
from tests.waiting import PATIENCE_SECONDS

PLAN = Plan(TranscribeOptions(language="en"), Priority.FILE, 10.0, 1.0)


class CountingDecoders(ThreadDecoders):
    """Knows how many channels were decoded at the same time, at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        counts = isinstance(task, Chunking)
        self.now += counts
        self.most = max(self.most, self.now)
        try:
            async with aclosing(super().run(task, spool, output)) as told:
                async for message in told:
                    yield message
        finally:
            self.now -= counts


def noise(channels: int) -> bytes:
    random = np.random.default_rng(0)
    return interleaved(
        *(random.uniform(-0.3, 0.3, SAMPLE_RATE).astype(np.float32) for _ in range(channels))
    )


def interleaved(*channels: Samples) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(len(channels))
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((np.stack(channels, axis=1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def spool_of(data: bytes) -> Spool:
    spool = Spool(limit=10**9)
    spool.write(data)
    return spool


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_no_more_channels_are_decoded_than_there_are_places(channels: int) -> None:
    async def scene() -> None:
        decoders, places = CountingDecoders(), Places(4, 4)
        submit = FakeSubmit(lambda chunk, options: Recognition(language="en"))

        async def transcribed() -> float:
            with spool_of(noise(channels)) as spool:
                spool.finish()
                parts = transcribe_channels(spool, PLAN, decoders, submit, places)
                return (await collect(parts)).duration

        found = await asyncio.gather(*(transcribed() for _ in range(6)))
        assert found == [pytest.approx(1.0)] * 6
        assert decoders.now == 0
        assert channels <= decoders.most <= 4

    asyncio.run(scene())


def test_a_recording_that_still_arrives_holds_no_place() -> None:
    async def scene() -> None:
        decoders, places = CountingDecoders(), Places(2, 2)
        submit = FakeSubmit(lambda chunk, options: Recognition(language="en"))
        data = noise(2)
        with spool_of(data[:30_000]) as slow, spool_of(data) as complete:
            complete.finish()
            waiting = asyncio.create_task(
                collect(transcribe_channels(slow, PLAN, decoders, submit, places))
            )
            await collect(transcribe_channels(complete, PLAN, decoders, submit, places))
            assert not waiting.done()
            slow.write(data[30_000:])
            slow.finish()
            assert (await waiting).duration == pytest.approx(1.0)

    asyncio.run(scene())


def test_requests_for_many_places_are_served_in_order_and_cancelled_ones_are_skipped() -> None:
    async def scene() -> None:
        places, order = Places(4, 4), list[str]()

        async def take(name: str, count: int) -> None:
            async with places.taken(count, Priority.FILE):
                order.append(name)
                await asyncio.sleep(0)

        async with places.taken(3, Priority.FILE):
            waiting = [
                asyncio.create_task(take(name, count))
                for name, count in (("leaves", 4), ("all", 4), ("one", 1), ("leaves too", 1))
            ]
            await asyncio.sleep(0)
            assert order == []
            waiting[0].cancel()
            waiting[3].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert order == ["all", "one"]
        async with asyncio.timeout(PATIENCE_SECONDS), places.taken(4, Priority.FILE):
            pass  # none was lost

    asyncio.run(scene())


def test_live_requests_pass_waiting_files() -> None:
    async def scene() -> None:
        places, order = Places(4, 4), list[str]()

        async def take(name: str, count: int, priority: Priority) -> None:
            async with places.taken(count, priority):
                order.append(name)

        async with places.taken(3, Priority.FILE):
            file = asyncio.create_task(take("file", 4, Priority.FILE))
            await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await take("live", 1, Priority.LIVE)
            assert order == ["live"]
        await file

    asyncio.run(scene())


def test_files_leave_places_to_live_requests() -> None:
    async def scene() -> None:
        places, order = Places(4, 2), list[str]()

        async def take(name: str, count: int, priority: Priority) -> None:
            async with places.taken(count, priority):
                order.append(name)

        async with places.taken(1, Priority.FILE), places.taken(1, Priority.LIVE):
            file = asyncio.create_task(take("file", 2, Priority.FILE))
            await asyncio.sleep(0)
            assert order == []
            async with asyncio.timeout(PATIENCE_SECONDS):
                await take("live", 2, Priority.LIVE)
            assert order == ["live"]
        await file

    asyncio.run(scene())


class SurveyedDecoders(ThreadDecoders):
    """Knows how many recordings' channels were counted."""

    def __init__(self) -> None:
        self.surveyed = asyncio.Semaphore(0)

    async def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        async with aclosing(super().run(task, spool, output)) as told:
            async for message in told:
                yield message
        if isinstance(task, Surveying):
            self.surveyed.release()


def test_long_recordings_leave_places_to_short_ones(speech: Samples) -> None:
    """Whoever uploads them: of four places for two channels each, the second long one gets none."""
    said = speech[: 2 * SAMPLE_RATE]
    pause = np.zeros(10 * SAMPLE_RATE, np.float32)
    spoken = np.concatenate([said, pause] * 6)
    long = interleaved(spoken, spoken)
    plan = replace(PLAN, priority=Priority.LIVE)

    async def scene() -> None:
        decoders, places = SurveyedDecoders(), Places(4, 2)
        first, second, at_once = HeldSubmit(), HeldSubmit(), FakeSubmit()
        with spool_of(long) as one, spool_of(long) as other, spool_of(noise(2)) as short:
            for spool in (one, other, short):
                spool.finish()
            async with asyncio.timeout(PATIENCE_SECONDS):
                holds = asyncio.create_task(
                    collect(transcribe_channels(one, plan, decoders, first, places))
                )
                await first.asked_for(4)
                waits = asyncio.create_task(
                    collect(transcribe_channels(other, plan, decoders, second, places))
                )
                for _ in range(2):
                    await decoders.surveyed.acquire()
                found = await collect(transcribe_channels(short, plan, decoders, at_once, places))
            assert found.duration == pytest.approx(1.0)
            assert second.count == 0
            assert not holds.done()
            for task in (holds, waits):
                task.cancel()
            await asyncio.wait({holds, waits})

    asyncio.run(scene())


def test_a_place_is_free_once_its_channel_is_decoded(speech: Samples) -> None:
    """The words of the first recording are still waited for when the second one is done."""

    async def scene() -> None:
        decoders, places = ThreadDecoders(), Places(2, 2)
        held, at_once = HeldSubmit(), FakeSubmit()
        data = interleaved(speech[: 3 * SAMPLE_RATE], speech[: 3 * SAMPLE_RATE])
        with spool_of(data) as slow, spool_of(data) as quick:
            slow.finish()
            quick.finish()
            waiting = asyncio.create_task(
                collect(transcribe_channels(slow, PLAN, decoders, held, places))
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                await held.asked_for(2)
                found = await collect(transcribe_channels(quick, PLAN, decoders, at_once, places))
            assert found.duration == pytest.approx(3.0)
            assert held.waiting == 2
            waiting.cancel()
            await asyncio.wait({waiting})
        async with asyncio.timeout(PATIENCE_SECONDS), places.taken(2, Priority.FILE):
            pass  # none was lost

    asyncio.run(scene())
