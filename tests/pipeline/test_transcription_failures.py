"""What of a transcript is left when chunks, an engine or the recording's bytes fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace

import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    EngineFailed,
    EngineNotLoaded,
    ReflectorError,
    ShuttingDown,
    TooLarge,
    UndecodableAudio,
    UpstreamFailed,
)
from reflector_gpu.pipeline.transcription import Part, collect, transcribe
from reflector_gpu.testing import FakeSubmit, HeldSubmit
from reflector_gpu.types import (
    Chunk,
    Priority,
    Recognition,
    TranscribeOptions,
    Transcript,
)
from tests.pipeline.transcribing import (
    DECODERS,
    drain,
    plan,
    recognised,
    run,
    seconds_of,
    spooled,
    texts,
    wav,
)


class Failing:
    """Hears a chunk, or fails on it with what ``failures`` has for its start."""

    def __init__(self, failures: Mapping[float, ReflectorError]) -> None:
        self._failures = failures
        self.asked: list[float] = []

    async def __call__(self, chunk: Chunk, options: TranscribeOptions, _: Priority) -> Recognition:
        self.asked.append(chunk.start)
        if failure := self._failures.get(chunk.start):
            raise failure
        return recognised(chunk, options)


def transcript_of(seconds: float, engine: Failing, *, strict: bool = False) -> Transcript:
    found: list[Transcript] = []

    async def scene() -> None:
        with spooled(wav(seconds_of(seconds))) as spool:
            parts = transcribe(spool, replace(plan(), strict=strict), DECODERS, engine)
            async with aclosing(parts):
                found.append(await collect(parts))

    run(scene)
    return found[0]


@pytest.mark.usefixtures("second_by_second")
def test_a_chunk_that_the_engine_fails_on_is_unheard_and_costs_no_other_chunk() -> None:
    engine = Failing({second: EngineFailed(f"number {second}") for second in (0, 1, 4, 9)})
    found = transcript_of(10, engine)
    assert found.text == "2 3 5 6 7 8"
    assert list(found.unheard) == [(0, 1), (1, 2), (4, 5), (9, 10)]
    assert found.duration == 10


@pytest.mark.usefixtures("second_by_second")
@pytest.mark.parametrize("seconds", [1, 3])
def test_a_recording_of_which_nothing_was_heard_fails(seconds: int) -> None:
    engine = Failing({second: EngineFailed(f"number {second}") for second in range(seconds)})
    with pytest.raises(EngineFailed, match=f"number {seconds - 1}"):
        transcript_of(seconds, engine)
    assert engine.asked == list(range(seconds))


@pytest.mark.usefixtures("second_by_second")
def test_an_engine_that_fails_from_the_beginning_on_is_not_tried_for_hours() -> None:
    engine = Failing({second: EngineFailed("It is broken.") for second in range(60)})
    with pytest.raises(EngineFailed, match="It is broken"):
        transcript_of(60, engine)
    assert len(engine.asked) <= 4 + 4  # as many again are in flight


@pytest.mark.usefixtures("second_by_second")
@pytest.mark.parametrize(
    ("failure", "strict"),
    [
        (EngineFailed("This one."), True),
        (EngineNotLoaded("Not at all."), False),
        (TooLarge("Too much."), False),
        (ShuttingDown("Not now."), False),
    ],
)
def test_what_fails_the_whole_recording(failure: ReflectorError, strict: bool) -> None:
    with pytest.raises(type(failure), match=failure.message):
        transcript_of(10, Failing({5: failure}), strict=strict)


@pytest.mark.usefixtures("second_by_second")
def test_a_failure_comes_after_the_parts_before_it() -> None:
    async def scene() -> None:
        engine = HeldSubmit(recognised)
        found: list[Part] = []
        with spooled(wav(seconds_of(20))) as spool:
            parts = transcribe(spool, replace(plan(4), strict=True), DECODERS, engine)

            async def consume() -> None:
                async with aclosing(parts):
                    async for part in parts:
                        found.append(part)  # noqa: PERF401

            work = asyncio.ensure_future(consume())
            await engine.asked_for(4)
            for number in (3, 2, 1):  # the others' failures concern nobody any more
                engine.fail(number, EngineFailed(f"number {number}"))
            engine.answer(0)
            with pytest.raises(EngineFailed, match="number 1"):
                await work
        assert texts(found) == ["0"]

    run(scene)


def test_what_is_no_audio() -> None:
    async def scene() -> None:
        with spooled(b"no audio at all" * 100) as spool, pytest.raises(UndecodableAudio):
            await drain(transcribe(spool, plan(), DECODERS, FakeSubmit(recognised)))

    run(scene)


@pytest.mark.usefixtures("second_by_second")
def test_audio_that_is_too_long() -> None:
    async def scene() -> None:
        with (
            spooled(wav(seconds_of(20))) as spool,
            pytest.raises(TooLarge, match="limit of 10 seconds"),
        ):
            await drain(transcribe(spool, plan(max_seconds=10), DECODERS, FakeSubmit(recognised)))

    run(scene)


@pytest.mark.usefixtures("second_by_second")
def test_a_download_that_fails_midway() -> None:
    async def scene() -> None:
        with Spool(limit=10**9) as spool:
            spool.write(wav(seconds_of(20))[:300_000])
            async with aclosing(
                transcribe(spool, plan(), DECODERS, FakeSubmit(recognised))
            ) as parts:
                assert texts([await anext(parts)]) == ["0"]
                spool.fail(UpstreamFailed("The audio host misbehaves."))
                with pytest.raises(UpstreamFailed):
                    async for _ in parts:
                        pass

    run(scene)
