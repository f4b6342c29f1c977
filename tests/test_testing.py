"""The stand-ins that are for the tests of others as well."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from reflector_gpu.engines.recognition.base import Recogniser
from reflector_gpu.errors import EngineFailed
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.testing import EchoRecogniser, FakeSubmit, HeldSubmit
from reflector_gpu.types import Chunk, Priority, Recognition, Samples, TranscribeOptions
from tests.waiting import PATIENCE_SECONDS

OPTIONS = TranscribeOptions(language="de")
HALF, WHOLE = (Chunk(np.zeros(length, np.float32), 3.0) for length in (8_000, 16_000))


def text(found: Recognition) -> str:
    return " ".join(segment.text for segment in found.segments)


def test_the_small_engine_is_one() -> None:
    engine: Recogniser = EchoRecogniser()
    engine.load()
    found = engine.transcribe([HALF.samples, WHOLE.samples], OPTIONS)
    assert [text(one) for one in found if isinstance(one, Recognition)] == ["0.5", "1.0"]
    assert all(isinstance(one, Recognition) and one.language == "de" for one in found)
    engine.close()


def test_it_works_in_a_worker() -> None:
    engine = f"{EchoRecogniser.__module__}:{EchoRecogniser.__name__}"
    pool: Pool[Samples, Recognition] = Pool("echo", [Recipe(engine, "transcribe")], PoolOptions())
    try:
        job = pool.put(HALF.samples, OPTIONS, cost=0.5, priority=Priority.LIVE)
        pool.start()
        assert text(job.future.result(PATIENCE_SECONDS)) == "0.5"
    finally:
        pool.close()


def test_a_fake_answers_at_once_and_remembers() -> None:
    submit = FakeSubmit()
    assert text(asyncio.run(submit(HALF, OPTIONS, Priority.FILE))) == "0.5"
    (asked,) = submit.asked
    assert (asked.chunk, asked.options, asked.priority) == (HALF, OPTIONS, Priority.FILE)


def test_one_that_is_held_answers_fails_and_is_left_when_the_test_says_so() -> None:
    async def scene() -> None:
        submit = HeldSubmit()
        first, second, third = (
            asyncio.ensure_future(submit(chunk, OPTIONS, Priority.LIVE))
            for chunk in (HALF, WHOLE, HALF)
        )
        await submit.asked_for(3)
        assert submit.waiting == 3
        submit.answer(1)
        assert text(await second) == "1.0"
        submit.fail(0, EngineFailed("broken"))
        with pytest.raises(EngineFailed, match="broken"):
            await first
        third.cancel()
        with pytest.raises(asyncio.CancelledError):
            await third
        assert (submit.count, submit.cancelled, submit.waiting) == (3, 1, 0)

    asyncio.run(scene())
