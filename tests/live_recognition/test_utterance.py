"""Utterances end to end: a real voice detector, and real engines where words matter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from itertools import pairwise

import numpy as np
import pytest

from reflector_gpu.errors import EngineFailed, ShuttingDown
from reflector_gpu.live.agreement import plain
from reflector_gpu.live.base import Heard, LiveTranscriber
from reflector_gpu.live.utterance import AgreeingTranscriber, LivePlan
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import TranscriptionParameters
from reflector_gpu.settings import load_settings
from reflector_gpu.types import (
    SAMPLE_RATE,
    Chunk,
    Priority,
    Recognition,
    Samples,
    Segment,
    TranscribeOptions,
    Word,
)
from tests.engines.tiny import PARAKEET, clips

BLOCK = SAMPLE_RATE // 5
PAUSE = np.zeros(SAMPLE_RATE * 7 // 10, np.float32)


@pytest.fixture(scope="module")
def talk() -> Samples:
    """Some of what the tiny models understand."""
    return np.concatenate([part for clip in clips("en")[:6] for part in (clip.samples, PAUSE)])


@pytest.fixture(scope="module")
def said() -> list[str]:
    return [plain(word) for clip in clips("en")[:6] for word in clip.words]


def blocks(samples: Samples) -> Iterator[Samples]:
    for first in range(0, len(samples), BLOCK):
        yield samples[first : first + BLOCK]


async def listened(live: LiveTranscriber, samples: Samples) -> list[Heard]:
    """What is heard of ``samples``, each block of which comes once the one before has been seen."""
    utterance = live.utterance()

    async def speak() -> None:
        for block in blocks(samples):
            utterance.push(block)
            await asyncio.sleep(0)
        utterance.finish()

    speaking = asyncio.create_task(speak())
    async with aclosing(utterance):
        found = [heard async for heard in utterance]
    await speaking
    return found


def words_of(found: list[Heard]) -> list[Word]:
    return [word for heard in found for word in heard.settled]


Recognise = Callable[[Chunk, TranscribeOptions], Awaitable[Recognition]]


def transcriber(
    recognise: Recognise, options: TranscribeOptions | None = None
) -> AgreeingTranscriber:
    return AgreeingTranscriber(
        LivePlan(options or TranscribeOptions(language="en"), 30.0), recognise
    )


async def a_word_every_half_second(chunk: Chunk, options: TranscribeOptions) -> Recognition:
    """Hears in each half of a second what number it has."""
    assert options.live
    first, last = int(chunk.start * 2) + 1, int(chunk.end * 2)
    times = [(number, number / 2 - chunk.start) for number in range(first, last)]
    words = [Word(f"{number}", start, start + 0.5) for number, start in times]
    return Recognition((Segment.of(words),) if words else (), "en")


def test_the_settled_words_are_what_was_said(talk: Samples, said: list[str]) -> None:
    async def run() -> list[Heard]:
        service = Service(load_settings(model="tiny", model_paths={"tiny": str(PARAKEET)}))
        service.start()
        try:
            parameters = TranscriptionParameters.of(language="en")
            model = service.resolve(None, parameters.options())
            await service.loaded(model)
            request = service.request(model, parameters, priority=Priority.LIVE)
            return await listened(service.recordings.live(request), talk)
        finally:
            await service.close()

    found = asyncio.run(run())
    words = words_of(found)
    assert [plain(word) for word in words] == said
    assert all(one.end <= other.start for one, other in pairwise(words))
    assert not found[-1].tentative


def test_an_utterance_is_heard_with_the_end_of_the_one_before_it(talk: Samples) -> None:
    starts: list[float] = []

    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        starts.append(chunk.start)
        return await a_word_every_half_second(chunk, options)

    async def run() -> list[Word]:
        plan = LivePlan(TranscribeOptions(language="en"), 30.0, context_seconds=1.0)
        live = AgreeingTranscriber(plan, recognise)
        await listened(live, talk[: 2 * SAMPLE_RATE])
        assert min(starts) == 0.0
        return words_of(await listened(live, talk[: 2 * SAMPLE_RATE]))

    words = asyncio.run(run())
    assert -2.0 < min(starts) < 0.0
    assert [int(word.text) for word in words] == list(range(len(words)))  # from its own first on
    assert all(word.start >= 0 for word in words)


def test_silence_is_never_heard() -> None:
    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        raise AssertionError("silence was recognised")

    silence = np.zeros(30 * SAMPLE_RATE, np.float32)
    assert asyncio.run(listened(transcriber(recognise), silence)) == []


def test_no_audio_at_all_ends_at_once() -> None:
    assert (
        asyncio.run(listened(transcriber(a_word_every_half_second), np.zeros(0, np.float32))) == []
    )


def test_audio_that_comes_faster_than_it_is_recognised_is_recognised_all(talk: Samples) -> None:
    chunks: list[Chunk] = []

    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        chunks.append(chunk)
        return await a_word_every_half_second(chunk, options)

    async def run() -> list[Heard]:
        utterance = transcriber(recognise).utterance()
        for _ in range(8):
            utterance.push(talk)
        utterance.finish()
        async with aclosing(utterance):
            return [heard async for heard in utterance]

    asyncio.run(run())
    assert all(chunk.duration <= 21 for chunk in chunks)
    assert all(other.start <= one.end for one, other in pairwise(chunks))
    assert chunks[-1].end > 7.5 * len(talk) / SAMPLE_RATE


def test_a_pass_that_fails_is_made_up_for_by_the_next(talk: Samples) -> None:
    calls = 0

    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise EngineFailed("once")
        return await a_word_every_half_second(chunk, options)

    assert words_of(asyncio.run(listened(transcriber(recognise), talk)))


@pytest.mark.parametrize("error", [EngineFailed("always"), ShuttingDown("soon")])
def test_an_engine_that_cannot_work_ends_the_utterance(talk: Samples, error: Exception) -> None:
    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(listened(transcriber(recognise), talk))


def test_closing_ends_the_pass_that_runs(talk: Samples) -> None:
    async def run() -> bool:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

        utterance = transcriber(recognise).utterance()
        utterance.push(talk)
        await begun.wait()
        await utterance.aclose()
        assert [heard async for heard in utterance] == []
        return cancelled.is_set()

    assert asyncio.run(run())


def test_a_language_that_is_in_doubt_is_that_of_what_was_said_before(talk: Samples) -> None:
    asked: list[str | None] = []

    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        asked.append(options.language)
        found = await a_word_every_half_second(chunk, options)
        if options.language:
            return Recognition(found.segments, options.language)
        sure = 4 < chunk.end < 7
        return Recognition(found.segments, "en" if sure else "fr", 0.99 if sure else 0.5)

    found = asyncio.run(listened(transcriber(recognise, TranscribeOptions()), talk))
    assert found[-1].language == "en"
    assert asked[0] is None
    assert asked[-1] == "en"
