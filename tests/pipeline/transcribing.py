"""A plan, recordings in which every second differs, and a transcription of them."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
import wave
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any

import numpy as np

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.threads import ThreadDecoders
from reflector_gpu.pipeline.transcription import Part, Plan
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
from tests.waiting import PATIENCE_SECONDS, until

DECODERS = ThreadDecoders()
"""In this process, where tests can put other things in place of what they decode."""

OPTIONS = TranscribeOptions(language="en", prompt="names")


def plan(ahead: int = 4, *, max_seconds: float = float("inf"), chunk_seconds: float = 10) -> Plan:
    return Plan(OPTIONS, Priority.FILE, chunk_seconds, 1.0, ahead, max_seconds)


def wav(samples: Samples) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def seconds_of(count: float) -> Samples:
    return np.random.default_rng(0).uniform(-0.5, 0.5, int(count * SAMPLE_RATE)).astype(np.float32)


def spooled(data: bytes) -> Spool:
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return spool


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``scene``; nothing may be left behind, no thread and no complaint of the event loop."""
    complaints: list[object] = []

    async def limited() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scene()
        assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
        gc.collect()

    asyncio.run(limited())
    until(lambda: all(thread.name != "decode" for thread in threading.enumerate()))
    assert complaints == []


def recognised(chunk: Chunk, _: TranscribeOptions = OPTIONS) -> Recognition:
    """A word that tells which chunk it is from, and others wherever somebody speaks."""
    words = [Word(f"{chunk.start:.0f}", 0.0, 0.1)]
    if chunk.voiced:
        words += [Word("and", t, t + 0.4) for t in np.arange(0.1, chunk.duration - 0.4, 0.5)]
    return Recognition((Segment.of(words),), "en")


def texts(parts: Iterable[Part]) -> list[str]:
    return [segment.text for part in parts for segment in part.segments]


async def drain(parts: AsyncGenerator[Part, None]) -> list[Part]:
    async with aclosing(parts):
        return [part async for part in parts]
