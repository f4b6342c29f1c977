"""What becomes of decoders that die, and of their recordings."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing, closing, suppress

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.decoding.base import Decoders
from reflector_gpu.decoding.messages import Cut, Ended, Passed
from reflector_gpu.decoding.processes import ProcessDecoders, _News
from reflector_gpu.decoding.tasks import Chunking
from reflector_gpu.decoding.threads import ThreadDecoders
from reflector_gpu.errors import EngineFailed, ShuttingDown, UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE, Schedule
from tests.arrival import ArrivalClock
from tests.conftest import SAMPLES
from tests.decoding.processes import (
    AHEAD,
    CHUNKING,
    begun,
    decoders_alive,
    run,
    spooled,
    template,
    told,
    whole,
)
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them")


def test_one_that_was_killed_while_it_waited_goes_unnoticed(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        expected = await whole(decoders, meeting)
        decoders_alive()[0].kill()
        assert await whole(decoders, meeting) == expected

    run(scene)


def test_a_crash_is_the_fault_of_its_recording_alone(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (first, _):
            process = decoders_alive()[0]
            async with begun(decoders, meeting) as (second, spool):
                process.send_signal(signal.SIGSEGV)
                with pytest.raises(UndecodableAudio, match="its decoder crashed"):
                    await first
                spool.write(meeting[len(meeting) // 2 :])
                spool.finish()
                assert await second

    run(scene)


def test_a_kill_before_anything_was_told_goes_unnoticed(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with Spool(limit=10**9) as spool:
            spool.write(meeting[:2])
            work = asyncio.ensure_future(told(decoders, CHUNKING, spool))
            await asyncio.to_thread(until, lambda: len(decoders_alive()) > AHEAD)
            decoders_alive()[0].kill()
            spool.write(meeting[2:])
            spool.finish()
            assert await work == await whole(ThreadDecoders(), meeting)

    run(scene)


SHORT_FIRST = Chunking(10.0, 1.0, schedule=Schedule((3.0,), whole_seconds=90.0))
"""The first chunk is short, unless the recording says that it is no longer than 90 seconds."""


@pytest.mark.parametrize("name", ["standup.wav", "standup.ogg", "standup.mp3"])
def test_kills_later_lose_and_repeat_nothing(name: str) -> None:
    """The second decoder has the whole file, which says how long it is; the first had a half."""
    data = (SAMPLES / name).read_bytes()

    async def cuts(decoders: Decoders, kill: Callable[[], None]) -> list[tuple[float, bytes]]:
        with Spool(limit=10**9) as spool:
            spool.write(data[: len(data) // 2])
            found: list[tuple[float, bytes]] = []
            async with aclosing(decoders.run(SHORT_FIRST, spool)) as messages:
                async for message, beside in messages:
                    if not isinstance(message, Cut):
                        continue
                    if not found:
                        kill()
                        spool.write(data[len(data) // 2 :])
                        spool.finish()
                    found.append((message.start, bytes(beside)))
            return found

    async def scene(decoders: ProcessDecoders) -> None:
        disturbed = await cuts(decoders, lambda: decoders_alive()[0].kill())
        assert decoders.deaths == 1
        assert disturbed == await cuts(ThreadDecoders(), lambda: None)

    run(scene)


def test_a_kill_after_cuts_that_time_decided_loses_and_repeats_nothing(meeting: bytes) -> None:
    """The second decoder has the whole file at once, and would have cut longer chunks."""
    hurried = Chunking(30.0, 30.0, VadOptions(padding=7.5), Schedule(patience=2.0))
    pieces = [meeting[first : first + 32_000] for first in range(0, len(meeting), 32_000)]
    clock = ArrivalClock()

    async def scene(decoders: ProcessDecoders) -> None:
        *expected, _ = await whole(ThreadDecoders(), meeting, hurried)
        with Spool(limit=10**9, clock=clock) as spool:
            found = asyncio.ensure_future(told(decoders, hurried, spool))
            for piece in pieces[:20]:
                spool.write(piece)
                await asyncio.to_thread(clock.awaited, 1.0)
            decoders_alive()[0].kill()
            spool.write(b"".join(pieces[20:]))
            spool.finish()
            *cuts, _ = await found
        assert decoders.deaths == 1
        assert len(cuts) > len(expected) + 3
        assert b"".join(data for _, data in cuts) == b"".join(data for _, data in expected)

    run(scene)


def test_what_was_cut_before_a_kill_is_not_heard_twice() -> None:
    """Not even if a decoder that was taken over tells it again."""
    news = _News()
    assert news.are_in(Cut(0.0, 3 * SAMPLE_RATE, (), 4.0))
    for start in (0.0, 2.0):
        with pytest.raises(EngineFailed, match="send it again"):
            news.are_in(Cut(start, 3 * SAMPLE_RATE, (), 40.0))
    assert news.are_in(Cut(3.0, 3 * SAMPLE_RATE, (), 8.0))
    assert not news.are_in(Passed(7.0))


@given(st.lists(st.floats(0.001, 40.0), max_size=60))
def test_news_do_not_bring_decoders_without_end(steps: list[float]) -> None:
    """A decoder that was taken over says something, and looks as if it was killed."""
    news, seconds = _News(), 0.0
    decoders = 1
    for step in [*steps, *[100.0] * 20]:
        seconds += step
        assert news.are_in(Passed(seconds))
        if not news.may_go_on():
            break
        decoders += 1
    assert decoders <= 10


def test_kills_leave_a_kept_recording_as_it_is(meeting: bytes) -> None:
    async def kept(decoders: Decoders, kill: Callable[[], None]) -> tuple[bytes, bytes]:
        with Spool(limit=10**9) as spool, closing(Recorder()) as recorder:
            spool.write(meeting[: len(meeting) // 2])
            async with aclosing(decoders.run(CHUNKING, spool, recorder.pcm)) as messages:
                await anext(messages)
                kill()
                spool.write(meeting[len(meeting) // 2 :])
                spool.finish()
                *_, (_, probabilities) = [one async for one in messages]
            return os.pread(recorder.descriptor, 10**9, 0), bytes(probabilities)

    async def scene(decoders: ProcessDecoders) -> None:
        disturbed = await kept(decoders, lambda: decoders_alive()[0].kill())
        assert decoders.deaths == 1
        assert disturbed == await kept(ThreadDecoders(), lambda: None)

    run(scene)


def test_one_that_is_killed_again_and_again_is_given_up(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        def given_up() -> bool:
            for one in decoders_alive():
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            return rest.done()

        async with begun(decoders, meeting) as (rest, _):
            await asyncio.to_thread(until, given_up)
            with pytest.raises(EngineFailed, match="was killed; send it again"):
                await rest

    run(scene)


def test_without_its_template_the_next_recording_has_another(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        expected = await whole(decoders, meeting)
        await asyncio.to_thread(kill_template)
        assert await whole(decoders, meeting) == expected

    run(scene)


def test_a_template_that_is_killed_while_it_starts_goes_unnoticed(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with Spool(limit=10**9) as spool:
            waiting = asyncio.ensure_future(told(decoders, CHUNKING, spool))
            await asyncio.to_thread(kill_template)
            await asyncio.to_thread(kill_template)
            spool.write(meeting)
            spool.finish()
            assert await waiting == await whole(decoders, meeting)

    run(scene)


def test_a_template_that_dies_again_and_again_is_told() -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with Spool(limit=10**9) as spool:  # nothing of the recording comes, so it cannot end
            waiting = asyncio.ensure_future(told(decoders, CHUNKING, spool))
            for _ in range(3):
                await asyncio.to_thread(kill_template)
            with pytest.raises(EngineFailed, match="send it again"):
                await waiting

    run(scene)


def kill_template() -> None:
    """Kill the template once there is one."""
    until(template)
    found = template()
    assert found
    found.kill()
    found.wait()


def test_leaving_ends_the_process(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, _):
            process = decoders_alive()[0]
            rest.cancel()
            await asyncio.gather(rest, return_exceptions=True)
        await asyncio.to_thread(until, lambda: not process.is_running())

    run(scene)


def test_there_are_none_once_they_are_closed(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        await whole(decoders, meeting)
        await decoders.close()
        assert template() is None
        with pytest.raises(ShuttingDown):
            await whole(decoders, meeting)

    run(scene)


def test_a_decoder_that_nobody_waited_for_is_ended(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with spooled(meeting) as spool:
            leaving = asyncio.ensure_future(told(decoders, CHUNKING, spool))
            await asyncio.sleep(0)  # it has asked for a process
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        assert isinstance((await whole(decoders, meeting))[-1][0], Ended)
        await asyncio.to_thread(until, lambda: len(decoders_alive()) == AHEAD + 1)

    run(scene)
