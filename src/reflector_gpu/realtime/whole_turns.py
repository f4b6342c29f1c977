"""Live recognition that hears a turn once it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from reflector_gpu.audio.chunk import chunker
from reflector_gpu.audio.vad import VadOptions, VoiceActivity
from reflector_gpu.live.base import Heard
from reflector_gpu.pipeline.stitching import place
from reflector_gpu.pipeline.unheard import hear
from reflector_gpu.types import Chunk, Recognition, Samples, TranscribeOptions

Recognise = Callable[[Chunk, TranscribeOptions], Awaitable[Recognition]]


@dataclass(frozen=True, slots=True)
class WholeTurns:
    """Makes utterances, whose speech is cut into chunks of ``max_chunk_seconds`` at most."""

    recognise: Recognise
    options: TranscribeOptions
    vad: VadOptions
    max_chunk_seconds: float
    max_gap_seconds: float

    def utterance(self) -> WholeTurn:
        return WholeTurn(self)


class WholeTurn:
    """A `LiveUtterance`."""

    def __init__(self, plan: WholeTurns) -> None:
        self._plan = plan
        self._cutter = chunker(
            VoiceActivity().probabilities,
            max_seconds=plan.max_chunk_seconds,
            max_gap=plan.max_gap_seconds,
            options=plan.vad,
        )
        self._chunks: list[Chunk] = []
        self._ended = asyncio.Event()

    def push(self, samples: Samples) -> None:
        self._chunks.extend(self._cutter.push(samples))

    def finish(self) -> None:
        if not self._ended.is_set():
            self._chunks.extend(self._cutter.finish())
            self._ended.set()

    async def __aiter__(self) -> AsyncIterator[Heard]:
        await self._ended.wait()
        for chunk in self._chunks:
            heard = await hear(chunk, self._plan.options, self._plan.recognise)
            if heard.lost and heard.failure:
                raise heard.failure
            words = tuple(w for s in place(heard.recognition, chunk) for w in s.words)
            yield Heard(words, language=heard.recognition.language)

    async def aclose(self) -> None:
        self._chunks.clear()
        self._ended.set()
