"""For tests: a pipeline that needs no workers, and an engine that needs no model.

`FakeSubmit` stands in for the workers that a recording's chunks are submitted to::

    submit = FakeSubmit()
    transcript = await collect(transcribe(spool, plan, ThreadDecoders(), submit))
    assert [asked.chunk.start for asked in submit.asked] == [0.0, 27.5]

`EchoRecogniser` is the smallest engine there can be, and a pattern for a real one: a class with
three methods, whose weights are read in ``load`` and not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reflector_gpu.errors import ReflectorError
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


class EchoRecogniser:
    """Recognises one word in any audio: its length in seconds."""

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        return [_length_of(samples, options.language or "en") for samples in chunks]

    def close(self) -> None:
        """Nothing to free."""


def _length_of(samples: Samples, language: str) -> Recognition:
    seconds = len(samples) / SAMPLE_RATE
    return Recognition((Segment.of([Word(f"{seconds:.1f}", 0.0, seconds)]),), language)


Hear = Callable[[Chunk, TranscribeOptions], Recognition]
"""Takes the place of an engine: recognises one chunk."""


def echo(chunk: Chunk, options: TranscribeOptions) -> Recognition:
    """The recognition of `EchoRecogniser`."""
    return _length_of(chunk.samples, options.language or "en")


@dataclass(frozen=True, slots=True)
class Asked:
    """A chunk that was submitted."""

    chunk: Chunk
    options: TranscribeOptions
    priority: Priority


class FakeSubmit:
    """Answers each chunk at once by ``hear``, and keeps what was submitted in ``asked``."""

    def __init__(self, hear: Hear = echo) -> None:
        self.asked: list[Asked] = []
        self._hear = hear

    async def __call__(
        self, chunk: Chunk, options: TranscribeOptions, priority: Priority
    ) -> Recognition:
        self.asked.append(Asked(chunk, options, priority))
        return self._hear(chunk, options)


class HeldSubmit:
    """Answers a chunk when the test calls `answer` or `fail` with its number.

    Chunks are numbered from 0, in the order in which they come.
    """

    def __init__(self, hear: Hear = echo) -> None:
        self.count = 0
        """How many chunks have come."""
        self.cancelled = 0
        """How many chunks were given up before they were answered."""
        self._hear = hear
        self._waiting: dict[int, tuple[Asked, asyncio.Future[Recognition]]] = {}
        self._came = asyncio.Condition()

    async def __call__(
        self, chunk: Chunk, options: TranscribeOptions, priority: Priority
    ) -> Recognition:
        number, future = self.count, asyncio.get_running_loop().create_future()
        async with self._came:
            self.count += 1
            self._waiting[number] = Asked(chunk, options, priority), future
            self._came.notify_all()
        del chunk  # only what waits is held
        try:
            found: Recognition = await future
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._waiting.pop(number, None)
        return found

    @property
    def waiting(self) -> int:
        """How many chunks wait for their answer."""
        return len(self._waiting)

    async def asked_for(self, count: int) -> None:
        """Wait until so many chunks have come."""
        async with self._came:
            await self._came.wait_for(lambda: self.count >= count)

    def answer(self, number: int) -> None:
        """Let a chunk be heard."""
        asked, future = self._waiting.pop(number)
        future.set_result(self._hear(asked.chunk, asked.options))

    def fail(self, number: int, error: ReflectorError) -> None:
        """Let a chunk fail."""
        _, future = self._waiting.pop(number)
        future.set_exception(error)
