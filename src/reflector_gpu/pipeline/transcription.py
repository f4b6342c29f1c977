"""A spooled recording to words, part by part, while its bytes may still arrive."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
)
from dataclasses import dataclass, field, replace

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.tracks import ANY_TRACK, TrackWish
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.decoding.base import Decoders
from reflector_gpu.decoding.tasks import Chunking
from reflector_gpu.pipeline.reading import Reading
from reflector_gpu.pipeline.spoken_languages import Tongues
from reflector_gpu.pipeline.stitching import place
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.pipeline.unheard import Heard, Losses, hear
from reflector_gpu.types import (
    PLAIN,
    SOUND,
    Chunk,
    Condition,
    Priority,
    Recognition,
    Schedule,
    Segment,
    Span,
    TranscribeOptions,
    Transcript,
)

LIVE_SECONDS = 60.0
"""An upload that is longer waits with the long files: otherwise it would hold up the live requests.
The first chunk of a stream does not, since a client waits for its words."""

Submit = Callable[[Chunk, TranscribeOptions, Priority], Awaitable[Recognition]]
"""The seam between what to compute and where it runs: a local pool, a GPU class, a replica."""


@dataclass(frozen=True, slots=True)
class Part:
    """The next part of a transcript: new ``segments``, up to ``position`` seconds of the recording.

    Only the last part has a ``duration``, that of the recording, and the recording's ``condition``.
    If speakers are told apart or segments translated, it has all segments once more, with that, as
    ``attributed``. In the stretches ``unheard`` somebody speaks, but no words were found.
    """

    segments: tuple[Segment, ...]
    position: float
    language: str | None = None
    duration: float | None = None
    attributed: tuple[Segment, ...] | None = None
    unheard: tuple[Span, ...] = ()
    condition: Condition = SOUND


@dataclass(frozen=True, slots=True)
class Plan:
    """How to transcribe one recording.

    ``max_chunk_seconds`` and ``max_gap_seconds`` are the engine's; ``ahead`` is the number of
    chunks that may be in flight, which bounds memory whatever the recording's length. ``tally`` is
    told how long the recording is. A ``recorder`` keeps the decoded audio, for a diarizer that need
    not wait for the recogniser. ``schedule`` makes the first chunks short, for a client that
    streams. If ``strict``, a chunk that the engine fails on fails the recording; otherwise it is
    unheard.
    """

    options: TranscribeOptions
    priority: Priority
    max_chunk_seconds: float
    max_gap_seconds: float
    ahead: int = 4
    max_seconds: float = float("inf")
    track: TrackWish = ANY_TRACK
    vad: VadOptions = field(default_factory=VadOptions)
    tally: Tally = UNCOUNTED
    recorder: Recorder | None = None
    schedule: Schedule = PLAIN
    strict: bool = False


async def transcribe(
    spool: Spool, plan: Plan, decoders: Decoders, submit: Submit
) -> AsyncGenerator[Part, None]:
    """Decode, chunk and recognise side by side; yield the parts in the recording's order.

    The caller closes the generator and the spool, which ends all work at once.

    Raises:
        ReflectorError: the audio is unusable or too long, or the engine cannot work.
        EngineFailed: it failed on all chunks; on any of them, if the plan is strict.
    """
    losses = Losses(plan.strict)
    cutting = Chunking(
        plan.max_chunk_seconds,
        plan.max_gap_seconds,
        plan.vad,
        plan.schedule,
        plan.max_seconds,
        plan.track,
    )
    source = Reading(decoders, cutting, spool, plan.tally, plan.recorder)
    in_flight: deque[tuple[Chunk, asyncio.Task[Heard]]] = deque()
    tongues, awaited = Tongues(), bool(plan.schedule.early_seconds)

    def start(
        chunk: Chunk,
        options: TranscribeOptions,
        priority: Priority,
        place: Callable[[tuple[Chunk, asyncio.Task[Heard]]], None],
    ) -> None:
        task = asyncio.create_task(_heard(submit, chunk, options, priority))
        task.add_done_callback(lambda _: source.news.set())
        place((chunk, task))

    try:
        while not source.ended or in_flight:
            await source.news.wait()
            source.news.clear()
            while in_flight and in_flight[0][1].done():
                chunk, task = in_flight[0]
                heard = task.result()
                following = in_flight[1][1] if len(in_flight) > 1 else None
                if following and not following.done() and tongues.puzzled(heard.recognition):
                    break  # the next chunk may tell which language is spoken
                in_flight.popleft()
                beside = _succeeded(following)
                if language := tongues.instead(heard.recognition, beside):
                    again = replace(plan.options, language=language)
                    start(chunk, again, plan.priority, in_flight.appendleft)
                    continue
                losses.count(heard)
                position = min(chunk.end, source.seconds)  # the last chunk may be padded
                yield Part(
                    place(heard.recognition, chunk),
                    position,
                    heard.recognition.language,
                    unheard=tuple((chunk.start + a, chunk.start + b) for a, b in heard.unheard),
                )
            while len(in_flight) < plan.ahead and (cut := source.taken()) is not None:
                long = max(cut.end, source.claimed) > LIVE_SECONDS
                priority = Priority.FILE if long and not awaited else plan.priority
                awaited = False
                start(cut, plan.options, priority, in_flight.append)
        losses.end()
        seconds = source.seconds
        yield Part((), seconds, plan.options.language, seconds, condition=source.condition)
    finally:
        await source.aclose()
        tasks = [task for _, task in in_flight]
        for task in tasks:
            task.cancel()
        if tasks:
            # No chunk outlives its request.
            await asyncio.gather(*tasks, return_exceptions=True)


class Gathered:
    """The parts so far, as a transcript; its language is the one that most of the words are in."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._languages: Counter[str] = Counter()
        self._duration = 0.0
        self._unheard: list[Span] = []
        self._condition = SOUND

    def add(self, part: Part) -> None:
        self._segments.extend(part.segments)
        self._unheard.extend(part.unheard)
        if part.language:
            said = sum(len(segment.text) for segment in part.segments)
            self._languages[part.language] += said or 1
        if part.duration is not None:
            self._duration = part.duration
            self._condition = part.condition
        if part.attributed is not None:
            self._segments = list(part.attributed)

    @property
    def transcript(self) -> Transcript:
        language = self._languages.most_common(1)[0][0] if self._languages else None
        return Transcript(
            tuple(self._segments),
            language,
            self._duration,
            unheard=tuple(self._unheard),
            condition=self._condition,
        )


async def collect(parts: AsyncIterable[Part]) -> Transcript:
    """All parts as one transcript."""
    gathered = Gathered()
    async for part in parts:
        gathered.add(part)
    return gathered.transcript


def _succeeded(task: asyncio.Task[Heard] | None) -> Recognition | None:
    """The result of a task, if it has ended and did not fail."""
    done = task is not None and task.done() and not task.cancelled() and not task.exception()
    return task.result().recognition if task and done else None


async def _heard(
    submit: Submit, chunk: Chunk, options: TranscribeOptions, priority: Priority
) -> Heard:
    def recognise(part: Chunk, options: TranscribeOptions) -> Awaitable[Recognition]:
        return submit(part, options, priority)

    return await hear(chunk, options, recognise)
