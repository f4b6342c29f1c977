"""From a spooled recording to parts in order, with as little as possible held at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import replace

import numpy as np
import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.decoding import tasks
from reflector_gpu.pipeline.transcription import LIVE_SECONDS, Part, Plan, collect, transcribe
from reflector_gpu.testing import FakeSubmit, HeldSubmit
from reflector_gpu.types import (
    SAMPLE_RATE,
    Chunk,
    Priority,
    Recognition,
    Samples,
    Schedule,
    Segment,
    TranscribeOptions,
    Word,
)
from tests.pipeline.transcribing import (
    DECODERS,
    OPTIONS,
    drain,
    plan,
    recognised,
    run,
    seconds_of,
    spooled,
    texts,
    wav,
)
from tests.waiting import PATIENCE_SECONDS


@pytest.mark.usefixtures("second_by_second")
def test_parts_are_in_order_though_results_are_not() -> None:
    async def scene() -> None:
        engine = HeldSubmit(recognised)
        with spooled(wav(seconds_of(8))) as spool:
            work = asyncio.ensure_future(drain(transcribe(spool, plan(4), DECODERS, engine)))
            for first in (0, 4):
                await engine.asked_for(first + 4)
                for number in reversed(range(first, first + 4)):
                    engine.answer(number)
            parts = await work
        assert texts(parts) == [str(second) for second in range(8)]
        words = [word for part in parts for segment in part.segments for word in segment.words]
        assert [word.start for word in words] == list(range(8))

    run(scene)


@pytest.mark.usefixtures("second_by_second")
def test_a_part_leaves_as_soon_as_it_is_its_turn() -> None:
    async def scene() -> None:
        engine = HeldSubmit(recognised)
        with spooled(wav(seconds_of(6))) as spool:
            async with aclosing(transcribe(spool, plan(3), DECODERS, engine)) as parts:
                first = asyncio.ensure_future(anext(parts))
                await engine.asked_for(3)
                engine.answer(1)
                await asyncio.sleep(0)
                assert not first.done()
                engine.answer(0)
                assert texts([await first, await anext(parts)]) == ["0", "1"]

    run(scene)


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_in_flight_than_planned(ahead: int, second_by_second: list[float]) -> None:
    async def scene() -> None:
        engine = HeldSubmit(recognised)
        with spooled(wav(seconds_of(40))) as spool:
            work = asyncio.ensure_future(drain(transcribe(spool, plan(ahead), DECODERS, engine)))
            for number in range(40):
                await engine.asked_for(number + 1)
                assert engine.count <= number + ahead
                # In flight, waiting, in the hands of either side, and ahead in the decoder.
                assert len(second_by_second) <= number + ahead + 2 + 2 + 4
                engine.answer(number)
            assert len(await work) == 41

    run(scene)


@pytest.mark.usefixtures("second_by_second")
def test_closing_cancels_what_is_in_flight() -> None:
    async def scene() -> None:
        engine = HeldSubmit(recognised)
        with spooled(wav(seconds_of(30))) as spool:
            async with aclosing(transcribe(spool, plan(3), DECODERS, engine)) as parts:
                first = asyncio.ensure_future(anext(parts))
                await engine.asked_for(3)
                engine.answer(0)
                await first
        assert engine.cancelled >= 2
        assert engine.waiting == 0

    run(scene)


@pytest.mark.usefixtures("second_by_second")
def test_cancelling_the_consumer_cancels_what_is_in_flight() -> None:
    async def scene() -> None:
        engine = HeldSubmit(recognised)
        with spooled(wav(seconds_of(30))) as spool:
            work = asyncio.ensure_future(drain(transcribe(spool, plan(3), DECODERS, engine)))
            await engine.asked_for(3)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert engine.cancelled == 3

    run(scene)


def test_closing_while_bytes_are_awaited() -> None:
    async def scene() -> None:
        with Spool(limit=10**9) as spool:
            spool.write(wav(seconds_of(5))[:40_000])
            async with aclosing(
                transcribe(spool, plan(), DECODERS, FakeSubmit(recognised))
            ) as parts:
                first = asyncio.ensure_future(anext(parts))
                await asyncio.sleep(0)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first

    run(scene)


@pytest.mark.usefixtures("second_by_second")
def test_parts_come_while_bytes_still_arrive() -> None:
    async def scene() -> None:
        data = wav(seconds_of(20))
        with Spool(limit=10**9) as spool:
            spool.write(data[:300_000])
            async with aclosing(
                transcribe(spool, plan(), DECODERS, FakeSubmit(recognised))
            ) as parts:
                first = await anext(parts)
                assert (first.position, first.duration) == (1.0, None)
                spool.write(data[300_000:])
                spool.finish()
                *_, last = [part async for part in parts]
                assert (last.position, last.duration) == (20.0, 20.0)

    run(scene)


@pytest.mark.parametrize("length", [0.3, 12.0])
def test_progress_never_goes_back_nor_past_the_end(length: float, speech: Samples) -> None:
    async def scene() -> None:
        first = int(1.0 * SAMPLE_RATE)
        samples = speech[first : first + int(length * SAMPLE_RATE)]
        with spooled(wav(samples)) as spool:
            parts = await drain(
                transcribe(spool, plan(chunk_seconds=3), DECODERS, FakeSubmit(recognised))
            )
        positions = [part.position for part in parts]
        assert len(parts) > 1
        assert positions == sorted(positions)
        assert positions[-1] == parts[-1].duration == pytest.approx(length)
        assert all(part.duration is None for part in parts[:-1])

    run(scene)


def test_a_whole_meeting(speech: Samples) -> None:
    async def scene() -> None:
        submit = FakeSubmit(recognised)
        with spooled(wav(speech)) as spool:
            transcript = await collect(transcribe(spool, plan(chunk_seconds=8), DECODERS, submit))
        assert {(asked.options, asked.priority) for asked in submit.asked} == {
            (OPTIONS, Priority.FILE)
        }
        heard = [asked.chunk for asked in submit.asked]
        assert transcript.duration == pytest.approx(len(speech) / SAMPLE_RATE)
        assert transcript.language == "en"
        told = [word for word in transcript.words if word.text.isdecimal()]
        assert len(told) == len(heard) > 5
        assert all(chunk.duration <= 8 for chunk in heard)
        assert [word.start for word in told] == [chunk.start for chunk in heard]

    run(scene)


def test_the_clients_detector_options_are_used(speech: Samples) -> None:
    async def scene() -> None:
        counts = []
        for silence in (0.2, 5.0):
            one = Plan(OPTIONS, Priority.FILE, 30, 1, vad=VadOptions(silence=silence))
            with spooled(wav(speech)) as spool:
                counts.append(
                    len(await drain(transcribe(spool, one, DECODERS, FakeSubmit(recognised))))
                )
        assert counts[0] > counts[1]

    run(scene)


async def heard(speech: Samples, one: Plan) -> list[tuple[float, Priority]]:
    """The length of each chunk of ``speech``, and who is said to wait for it."""
    submit = FakeSubmit(recognised)
    with spooled(wav(speech)) as spool:
        await drain(transcribe(spool, one, DECODERS, submit))
    return [(asked.chunk.duration, asked.priority) for asked in submit.asked]


def test_the_chunks_of_a_stream_grow(speech: Samples) -> None:
    async def scene() -> None:
        one = Plan(OPTIONS, Priority.LIVE, 30, 30, schedule=Schedule((3.0, 6.0, 12.0)))
        lengths = [length for length, _ in await heard(speech[: 60 * SAMPLE_RATE], one)]
        assert 3 <= lengths[0] <= 6 <= lengths[1] <= 12 <= lengths[2] <= 24

    run(scene)


@pytest.mark.parametrize(("whole", "first"), [(45.0, 28.0), (35.0, 3.0)])
def test_what_says_it_is_short_is_not_cut_for_early_words(
    speech: Samples, whole: float, first: float
) -> None:
    async def scene() -> None:
        one = Plan(OPTIONS, Priority.LIVE, 30, 30, schedule=Schedule((3.0,), whole_seconds=whole))
        lengths = [length for length, _ in await heard(speech[: 40 * SAMPLE_RATE], one)]
        assert first <= lengths[0] <= 2 * first

    run(scene)


@pytest.mark.parametrize("priority", Priority)
def test_a_long_upload_takes_its_place_among_the_files(speech: Samples, priority: Priority) -> None:
    async def scene() -> None:
        one = Plan(OPTIONS, priority, 8, 1)
        short = await heard(speech[: int(LIVE_SECONDS) * SAMPLE_RATE], one)
        assert {who for _, who in short} == {priority}
        twice = np.concatenate([speech, speech])
        assert {who for _, who in await heard(twice, one)} == {Priority.FILE}
        awaited = replace(one, schedule=Schedule((3.0,)))
        streamed = [who for _, who in await heard(twice, awaited)]
        assert streamed == [priority] + [Priority.FILE] * (len(streamed) - 1)

    run(scene)


def test_an_upload_that_does_not_say_how_long_it_is_proves_to_be_long(
    speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unannounced(*_: object, **__: object) -> Iterator[Samples]:
        yield from np.array_split(np.concatenate([speech, speech]), 100)

    monkeypatch.setattr(tasks, "decode", unannounced)
    submit = FakeSubmit(recognised)

    async def scene() -> None:
        with spooled(b"") as spool:
            await drain(transcribe(spool, Plan(OPTIONS, Priority.LIVE, 8, 1), DECODERS, submit))
        found = [(asked.chunk.end, asked.priority) for asked in submit.asked]
        assert {who for _, who in found} == set(Priority)
        assert all((who is Priority.LIVE) == (end <= LIVE_SECONDS) for end, who in found)

    run(scene)


def test_silence_has_a_duration_and_nothing_else() -> None:
    async def scene() -> None:
        with spooled(wav(np.zeros(3 * SAMPLE_RATE, np.float32))) as spool:
            parts = await drain(transcribe(spool, plan(), DECODERS, FakeSubmit(recognised)))
        assert parts == [Part((), 3.0, "en", duration=3.0)]

    run(scene)


def test_leaving_ends_even_a_recording_in_which_nobody_ever_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = threading.Event()

    def silence(*_: object, **__: object) -> Iterator[Samples]:
        while True:
            begun.set()
            yield np.zeros(SAMPLE_RATE, np.float32)

    monkeypatch.setattr(tasks, "decode", silence)

    async def scene() -> None:
        with spooled(b"") as spool:
            parts = transcribe(spool, plan(), DECODERS, FakeSubmit(recognised))
            first = asyncio.ensure_future(anext(parts))
            await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
            first.cancel()
            with suppress(asyncio.CancelledError):
                await first
            await parts.aclose()

    run(scene)  # which waits for the decoder's thread


@pytest.mark.usefixtures("second_by_second")
@pytest.mark.parametrize(
    ("detected", "spoken"),
    [
        ([("de", 0.99), ("en", 0.6), ("de", 0.9)], ["de", "de", "de"]),
        # At the beginning, what follows tells.
        ([("en", 0.6), ("de", 0.99), ("de", 0.99)], ["de", "de", "de"]),
        # A real change is one that the recogniser is sure of.
        ([("de", 0.99), ("en", 0.95), ("fr", 0.4)], ["de", "en", "en"]),
        # Nobody knows.
        ([("en", 0.6), ("de", 0.5), ("fr", 0.4)], ["en", "de", "fr"]),
    ],
)
def test_a_chunk_of_doubtful_language_is_heard_in_that_of_its_neighbours(
    detected: list[tuple[str, float]], spoken: list[str]
) -> None:
    async def scene() -> None:
        together = asyncio.Barrier(len(detected))

        async def submit(
            chunk: Chunk, options: TranscribeOptions, priority: Priority
        ) -> Recognition:
            language, certainty = detected[round(chunk.start)]
            if options.language:
                language, certainty = options.language, 1.0
            else:
                await together.wait()
            segments = (Segment.of([Word(f"heard-as-{language}", 0.0, 0.1)]),)
            return Recognition(segments, language, certainty)

        wanted = replace(plan(4), options=TranscribeOptions())
        with spooled(wav(seconds_of(len(detected)))) as spool:
            parts = await drain(transcribe(spool, wanted, DECODERS, submit))
        assert texts(parts) == [f"heard-as-{language}" for language in spoken]
        assert [s.language for part in parts for s in part.segments] == spoken

    run(scene)
