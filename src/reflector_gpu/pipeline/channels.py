"""Transcribes each channel of a recording separately: the channel of a word is its speaker.

The channels are decoded and recognised side by side, and their words are put in one order.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from itertools import takewhile
from math import inf

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.tracks import TrackWish
from reflector_gpu.decoding.base import Decoders, DecodeTask
from reflector_gpu.decoding.messages import Claimed, Ended, Told
from reflector_gpu.decoding.tasks import Listening, Surveying
from reflector_gpu.errors import EngineFailed, InvalidRequest, UndecodableAudio
from reflector_gpu.pipeline.attribution import label
from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.pipeline.places import Places, TakenPlaces
from reflector_gpu.pipeline.reading import Reading
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.pipeline.transcription import LIVE_SECONDS, Part, Plan, Submit, transcribe
from reflector_gpu.types import SOUND, Condition, Priority, Segment, Span, SpeakerTurn

MOST_CHANNELS = 16
"""Each is decoded in a process of its own, all of a recording at the same time."""

_WAITING = 4  # parts of a channel that nobody has taken
_LEAST_AHEAD = 2  # chunks of a channel in flight


@dataclass(frozen=True, slots=True)
class Channels:
    """What to decode for each channel of a recording, in order, and how long the recording claims
    to be; None if it claims nothing."""

    wishes: Sequence[TrackWish]
    seconds: float | None


async def channels_of(spool: Spool, wish: TrackWish, decoders: Decoders) -> Channels:
    """The channels of a recording.

    If a file has several tracks and the client names none, its tracks are the channels.

    Raises:
        UndecodableAudio: there is no audio.
        InvalidRequest: there is no such track, or there are more than `MOST_CHANNELS`.
    """
    counts, seconds = b"", None
    async with aclosing(decoders.run(Surveying(wish), spool)) as told:
        async for message, data in told:
            if isinstance(message, Claimed):
                seconds = message.seconds
            elif isinstance(message, Ended):
                counts = bytes(data)
    if len(counts) != 2 or 0 in counts:
        raise EngineFailed("The channels of the recording could not be counted.")
    tracks, channels = counts
    if (count := max(tracks if tracks > 1 else channels, 1)) > MOST_CHANNELS:
        raise InvalidRequest(
            f"The recording has {count} channels, and {MOST_CHANNELS} is the limit for "
            "'channels=separate'; leave it out, or name one of the tracks.",
            param="channels",
        )
    if tracks > 1:
        return Channels([TrackWish(str(number)) for number in range(tracks)], seconds)
    return Channels([replace(wish, channel=number) for number in range(channels)], seconds)


async def transcribe_channels(
    spool: Spool, plan: Plan, decoders: Decoders, submit: Submit, places: Places
) -> AsyncGenerator[Part, None]:
    """As `transcribe`, for each channel. Segments name their channel: ``A`` is the first.

    They are in the order of their words, so the segment of one channel is cut where somebody begins
    to speak on another. The last part has all of them once more. A channel that cannot be decoded
    is silent, unless all are like that.

    Each channel has one of the ``places`` until it is decoded, which goes on while the recogniser
    works. There are `MOST_CHANNELS` at least for files, and long recordings count as such. Until
    the recording is complete, none is taken, so that no slow host keeps others waiting.
    """
    found = await channels_of(spool, plan.track, decoders)
    plan.tally.channels(len(found.wishes))
    await spool.reached(sys.maxsize)
    seconds = spool.plausible_seconds if found.seconds is None else found.seconds
    priority = Priority.FILE if seconds > LIVE_SECONDS else plan.priority
    async with places.taken(len(found.wishes), priority) as held:
        placed = _PlacedDecoders(decoders, held)
        async with aclosing(_merged(spool, plan, placed, submit, found.wishes)) as parts:
            async for part in parts:
                yield part


async def _merged(
    spool: Spool, plan: Plan, decoders: Decoders, submit: Submit, wishes: Sequence[TrackWish]
) -> AsyncGenerator[Part, None]:
    """Transcribe all channels that are wished for, and put their words in one order."""
    ahead, whole = max(_LEAST_AHEAD, plan.ahead // len(wishes)), plan.tally
    plan = replace(plan, ahead=ahead, tally=_Longest(plan.tally))
    channels = [
        _Channel(label(number), transcribe(spool, replace(plan, track=wish), decoders, submit))
        for number, wish in enumerate(wishes)
    ]
    told: list[Segment] = []
    position = 0.0
    try:
        while (channel := await _next(channels)) is not None:
            others = [one.begin for one in channels if one is not channel]
            segment, language = channel.take(min(others, default=inf))
            position = max(position, segment.end)
            told.append(segment)
            yield Part((segment,), position, language)
        if all(channel.failure for channel in channels):
            raise channels[0].failure or UndecodableAudio("The file holds no decodable audio.")
    finally:
        for channel in channels:
            await channel.aclose()
    seconds = max(channel.seconds for channel in channels)
    whole.expect(seconds)
    yield Part(
        (),
        seconds,
        plan.options.language,
        seconds,
        tuple(told),
        tuple(sorted(span for channel in channels for span in channel.unheard)),
        _together([channel.condition for channel in channels]),
    )


async def diarize_channels(
    spool: Spool,
    recorder: Callable[[], Recorder],
    decoders: Decoders,
    wish: TrackWish,
    *,
    max_seconds: float = inf,
    tally: Tally = UNCOUNTED,
) -> Diarized:
    """Where somebody speaks on each channel, whose number is the speaker's. No diarizer is needed.

    One channel is decoded after the other, each into a ``recorder`` of its own.

    Raises:
        ReflectorError: the audio is unusable or too long.
    """
    turns: list[SpeakerTurn] = []
    conditions: list[Condition] = []
    failures: list[UndecodableAudio] = []
    wishes = (await channels_of(spool, wish, decoders)).wishes
    tally.channels(len(wishes))
    seconds, longest = 0.0, _Longest(tally)
    for number, one in enumerate(wishes):
        with closing(recorder()) as kept:
            source = Reading(decoders, Listening(max_seconds, one), spool, longest, kept)
            try:
                await asyncio.wrap_future(kept.complete)
            except UndecodableAudio as error:
                failures.append(error)
                continue
            finally:
                await source.aclose()
            spoken = await asyncio.to_thread(lambda: kept.speech)
            turns += [SpeakerTurn(begin, end, number) for begin, end in spoken]
            conditions.append(source.condition)
            seconds = max(seconds, source.seconds)
    if not conditions:
        raise failures[0]
    tally.expect(seconds)
    turns.sort(key=lambda turn: (turn.start, turn.speaker))
    return Diarized(turns, seconds, condition=_together(conditions))


class _PlacedDecoders:
    """`Decoders` that give a place back at the end of each recording that they decode."""

    def __init__(self, decoders: Decoders, held: TakenPlaces) -> None:
        self._decoders = decoders
        self._held = held

    async def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        try:
            async with aclosing(self._decoders.run(task, spool, output)) as told:
                async for message in told:
                    yield message
        finally:
            self._held.give_one_back()


class _Channel:
    """What is heard on one channel. It must be closed."""

    def __init__(self, name: str, parts: AsyncGenerator[Part, None]) -> None:
        self.failure: UndecodableAudio | None = None
        self.seconds = 0.0
        self.condition = SOUND
        self.unheard: list[Span] = []
        self._name = name
        self._error: Exception | None = None
        self._ended = False
        self._parts: asyncio.Queue[Part | None] = asyncio.Queue(_WAITING)
        self._segments: deque[tuple[Segment, str | None]] = deque()
        self._task = asyncio.create_task(self._hear(parts))

    @property
    def begin(self) -> float:
        """When the next words begin; infinite if there are none."""
        return self._segments[0][0].start if self._segments else inf

    async def fill(self) -> None:
        """Wait for the next words, or the end of all."""
        while not self._segments and not self._ended:
            part = await self._parts.get()
            if part is None:
                self._ended = True
                if self._error:
                    raise self._error
                return
            self._segments += [(segment, part.language) for segment in part.segments]
            self.unheard += part.unheard
            if part.duration is not None:
                self.seconds, self.condition = part.duration, part.condition

    def take(self, until: float) -> tuple[Segment, str | None]:
        """The next segment, or those of its words that begin no later than ``until``."""
        segment, language = self._segments.popleft()
        words = [replace(word, speaker=self._name) for word in segment.words]
        own = list(takewhile(lambda word: word.start <= until, words)) or words[:1]
        if len(own) == len(words):
            return replace(segment, words=tuple(words), speaker=self._name), language
        rest = replace(Segment.of(words[len(own) :], segment.scores), continues=True)
        self._segments.appendleft((replace(rest, language=segment.language), language))
        taken = Segment.of(own, segment.scores)
        return (
            replace(
                taken,
                speaker=self._name,
                continues=segment.continues,
                language=segment.language,
            ),
            language,
        )

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _hear(self, parts: AsyncGenerator[Part, None]) -> None:
        told = False
        try:
            async with aclosing(parts):
                async for part in parts:
                    told = True
                    await self._parts.put(part)
        except Exception as error:  # noqa: BLE001  it is raised in whoever takes the words
            if isinstance(error, UndecodableAudio) and not told:
                self.failure = error
            else:
                self._error = error
        await self._parts.put(None)


async def _next(channels: Sequence[_Channel]) -> _Channel | None:
    """The channel whose words come next. None if nobody says anything more."""
    for channel in channels:
        await channel.fill()
    first = min(channels, key=lambda channel: channel.begin)
    return first if first.begin < inf else None


class _Longest:
    """The tally of a recording whose channels are decoded by themselves: they are equally long."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._expected = self._decoded = 0.0

    def expect(self, seconds: float) -> None:
        self._expected = max(self._expected, seconds)
        self._tally.expect(self._expected)

    def decoded(self, seconds: float, plausible: float) -> None:
        if seconds > self._decoded:
            self._decoded = seconds
            self._tally.decoded(seconds, plausible)

    def channels(self, count: int) -> None:
        self._tally.channels(count)


def _together(conditions: Sequence[Condition]) -> Condition:
    """The condition of the recording, by those of its channels."""
    damaged = sorted({span for one in conditions for span in one.damaged})
    cut = next((one.truncated for one in conditions if one.truncated), None)
    return Condition(tuple(damaged), cut)
