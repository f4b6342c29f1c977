"""A spooled recording to speaker turns, alone or beside its transcript."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.tracks import ANY_TRACK, TrackWish
from reflector_gpu.decoding.base import Decoders
from reflector_gpu.decoding.tasks import Listening
from reflector_gpu.pipeline import voices as client_voices
from reflector_gpu.pipeline.attribution import attribute
from reflector_gpu.pipeline.identification import Identify, KnownSpeaker, named
from reflector_gpu.pipeline.reading import Reading
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.types import SOUND, Condition, Segment, SpeakerTurn

SubmitRecording = Callable[[Recorder], Awaitable[Sequence[SpeakerTurn]]]
"""Diarizes a complete recording, wherever the diarizer runs."""


@dataclass(frozen=True, slots=True)
class Diarized:
    """Who speaks when in a recording of so many ``seconds``.

    ``names`` are those of `Voice`, and of remembered speakers, who have a ``similarity`` by name.
    """

    turns: Sequence[SpeakerTurn]
    seconds: float
    names: Mapping[int, str] = field(default_factory=dict)
    condition: Condition = SOUND
    similarity: Mapping[str, float] = field(default_factory=dict)


async def diarize(
    spool: Spool,
    recorder: Recorder,
    decoders: Decoders,
    submit: SubmitRecording,
    voices: Sequence[Voice] = (),
    identify: Identify | None = None,
    *,
    max_seconds: float = float("inf"),
    tally: Tally = UNCOUNTED,
    track: TrackWish = ANY_TRACK,
) -> Diarized:
    """Decode ``spool`` while it fills, then tell its speakers apart. The caller closes both.

    ``tally`` is told how long the recording is. ``identify`` finds remembered speakers.

    Raises:
        ReflectorError: the audio is unusable, too long, or the engine fails.
    """
    source = Reading(decoders, Listening(max_seconds, track), spool, tally, recorder)
    try:
        found = await _found(recorder, submit, voices, identify)
        names = {**found.names, **{who: one.name for who, one in found.known.items()}}
        return Diarized(found.turns, source.seconds, names, source.condition, found.similarity)
    finally:
        await source.aclose()


async def with_speakers(
    parts: AsyncGenerator[Part, None],
    recorder: Recorder,
    submit: SubmitRecording,
    voices: Sequence[Voice] = (),
    identify: Identify | None = None,
) -> AsyncGenerator[Part, None]:
    """``parts`` as they come; the last one has all segments with their speakers as well.

    The diarizer begins as soon as ``recorder`` is complete, long before the recogniser is done.
    Speakers with known ``voices`` get their names, and so do those whom ``identify`` finds.
    """
    turns = asyncio.create_task(_found(recorder, submit, voices, identify))
    spoken: list[Segment] = []
    try:
        async for part in parts:
            spoken.extend(part.segments)
            if part.duration is None:
                if turns.done():
                    turns.result()  # raises if the diarizer failed: there is no use in going on
                yield part
                continue
            # In a thread: hours of words would hold up other requests.
            told = await asyncio.to_thread(_attributed, spoken, await turns)
            yield replace(part, attributed=told)
    finally:
        turns.cancel()  # first: a decoder that is stopped looks like one that is done
        await asyncio.gather(turns, return_exceptions=True)
        await parts.aclose()


@dataclass(frozen=True, slots=True)
class _Found:
    """The turns, the names by the client's voices, and the remembered speakers."""

    turns: Sequence[SpeakerTurn]
    names: Mapping[int, str] = field(default_factory=dict)
    known: Mapping[int, KnownSpeaker] = field(default_factory=dict)

    @property
    def similarity(self) -> Mapping[str, float]:
        return {one.name: one.similarity for one in self.known.values()}


async def _found(
    recorder: Recorder,
    submit: SubmitRecording,
    voices: Sequence[Voice],
    identify: Identify | None,
) -> _Found:
    await asyncio.wrap_future(recorder.complete)
    seconds, names = recorder.seconds, dict[int, str]()
    if voices:
        where = await asyncio.to_thread(client_voices.append, recorder, voices)
        turns = await submit(recorder)
        turns, names = client_voices.identify(turns, seconds, [v.name for v in voices], where)
    else:
        turns = await submit(recorder)
    if identify is None:
        return _Found(turns, names)
    known = await identify(recorder, turns)
    taken = names.values()
    return _Found(
        turns,
        names,
        {who: one for who, one in known.items() if who not in names and one.name not in taken},
    )


def _attributed(spoken: Sequence[Segment], found: _Found) -> tuple[Segment, ...]:
    names = named(found.turns, found.names, found.known)
    told = attribute(spoken, found.turns, names)
    return tuple(
        replace(segment, speaker_similarity=found.similarity.get(segment.speaker or ""))
        for segment in told
    )
