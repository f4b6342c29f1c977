"""Live recognition by engines that hear whole chunks: a growing window, again and again."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import numpy as np

from reflector_gpu.audio.vad import VadOptions, VoiceActivity
from reflector_gpu.errors import EngineFailed
from reflector_gpu.live.base import Heard
from reflector_gpu.live.cadence import Cadence, borne_context
from reflector_gpu.live.load import Load
from reflector_gpu.live.speech import Speech
from reflector_gpu.live.window import PATIENCE, Context, Lengths, Window, moved
from reflector_gpu.pipeline.spoken_languages import Tongues
from reflector_gpu.pipeline.unheard import hear
from reflector_gpu.types import (
    SAMPLE_RATE,
    Chunk,
    Recognition,
    Samples,
    TranscribeOptions,
)

Recognise = Callable[[Chunk, TranscribeOptions], Awaitable[Recognition]]

_SHORTEST = 1.0  # seconds of audio before the first pass: recognisers guess at less
_TRAILING = 0.3  # seconds of silence behind the end, so that the last word is not cut off
_SURE_SECONDS = 3.0  # of audio in which a recogniser should know the language
_FAILURES = 3  # passes in a row, after which the engine has failed


@dataclass(frozen=True, slots=True)
class LivePlan:
    """How to recognise the utterances of one session.

    A pass hears ``max_seconds`` at most. It does not learn what was said before its window: that
    made Whisper base repeat itself, and passes with different prompts cannot share a batch.
    """

    options: TranscribeOptions
    max_seconds: float
    vad: VadOptions = field(default_factory=VadOptions)
    patience: float = PATIENCE
    """Seconds for which a word may wait until passes agree on it."""
    context_seconds: float = 0.0
    """How much of the utterance before is heard again."""
    sure: float | None = None
    """How probable a word is that no later pass changes; None if the recogniser cannot tell."""


class AgreeingTranscriber:
    """Recognises the utterances of one session by what passes agree on."""

    def __init__(self, plan: LivePlan, recognise: Recognise, load: Load | None = None) -> None:
        """``load`` counts the sessions that share the workers."""
        self._session = _Session(plan, recognise, load or Load())

    def utterance(self) -> AgreeingUtterance:
        """The next utterance; see `LiveTranscriber`. Called in an event loop."""
        return AgreeingUtterance(self._session)


@dataclass(slots=True)
class _Session:
    """What the utterances of one session have in common."""

    plan: LivePlan
    recognise: Recognise
    load: Load
    cadence: Cadence = field(default_factory=Cadence)
    context: Context | None = None
    """The end of the last utterance."""


class AgreeingUtterance:
    """One stretch of speech; see `LiveUtterance`."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._plan = plan = session.plan
        self._recognise = session.recognise
        self._cadence = session.cadence
        self._speech = Speech(VoiceActivity().probabilities, plan.vad)
        lengths = Lengths.within(plan.max_seconds - _TRAILING)
        self._window = Window(self._speech, lengths, plan.patience, session.context, plan.sure)
        self._context_seconds = min(plan.context_seconds, lengths.usual / 2)
        self._tongues = Tongues()
        self._language = plan.options.language
        self._failures = 0
        self._incoming: deque[tuple[Samples, Samples | None]] = deque()
        self._finished = False
        self._news = asyncio.Event()
        self._told: asyncio.Queue[Heard | None] = asyncio.Queue()
        self._work = asyncio.create_task(self._run())

    def push(self, samples: Samples, probabilities: Samples | None = None) -> None:
        if not self._finished:
            self._incoming.append((samples, probabilities))
            self._news.set()

    def finish(self) -> None:
        self._finished = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Heard]:
        while (heard := await self._told.get()) is not None:
            yield heard
        self._told.put_nowait(None)  # in case somebody iterates again
        if not self._work.cancelled():
            await self._work  # which raises its error

    async def aclose(self) -> None:
        self._finished = True
        self._work.cancel()
        self._incoming.clear()
        await asyncio.gather(self._work, return_exceptions=True)

    async def _run(self) -> None:
        try:
            with self._session.load.speaking(self._cadence):
                await self._work_through()
            seconds = borne_context(self._context_seconds, self._cadence.step)
            if context := self._window.context(seconds):
                self._session.context = context
        finally:
            self._told.put_nowait(None)

    async def _work_through(self) -> None:
        """Recognise what comes until all of it is settled."""
        while True:
            self._news.clear()
            for waiting in reversed(range(len(self._incoming))):
                self._window.push(*self._incoming.popleft())
                if waiting:
                    await asyncio.sleep(0)  # others have their turn
            last = self._finished and not self._incoming
            if self._window.open if last else self._due():
                await self._pass(last)
            elif last:
                break
            elif not self._incoming:
                await self._news.wait()

    def _due(self) -> bool:
        window = self._window
        if window.behind or window.pausing:
            return True
        return window.seconds >= _SHORTEST and window.fresh >= self._cadence.step

    async def _pass(self, last: bool) -> None:
        window = self._window
        chunk = window.chunk()
        began = time.monotonic()
        try:
            found = await self._hear(chunk, last)
        except EngineFailed:
            self._failures += 1
            if self._failures >= _FAILURES:
                raise
            return
        finally:
            self._cadence.took(time.monotonic() - began)
        self._failures = 0
        if found is None:
            window.passed(chunk)
            return
        before = window.tentative
        words = [word for segment in found.segments for word in segment.words]
        settled = window.take(moved(words, chunk.start), chunk, last=last)
        self._language = found.language or self._language
        if settled or window.tentative != before:
            self._told.put_nowait(Heard(settled, window.tentative, self._language))

    async def _hear(self, chunk: Chunk, last: bool) -> Recognition | None:
        """What is heard in ``chunk``. None if it is too early to tell in which language."""
        options = replace(self._plan.options, live=True)
        if last:
            silence = np.zeros(round(_TRAILING * SAMPLE_RATE), np.float32)
            chunk = replace(chunk, samples=np.concatenate([chunk.samples, silence]))
        heard = await hear(chunk, options, self._recognise)
        if heard.lost and heard.failure:
            raise heard.failure
        if not last and chunk.duration < _SURE_SECONDS and self._tongues.puzzled(heard.recognition):
            return None
        if language := self._tongues.instead(heard.recognition, None):
            again = await hear(chunk, replace(options, language=language), self._recognise)
            return again.recognition
        return heard.recognition
