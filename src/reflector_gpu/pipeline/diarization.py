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
from reflector_gpu.pipeline import voices as known
from reflector_gpu.pipeline.attribution import attribute
from reflector_gpu.pipeline.reading import Reading
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.types import SOUND, Condition, Segment, SpeakerTurn

SubmitRecording = Callable[[Recorder], Awaitable[Sequence[SpeakerTurn]]]
"""Has a complete recording diarized, wherever the diarizer runs."""


@dataclass(frozen=True, slots=True)
class Diarized:
    """Who speaks when in a recording of so many ``seconds``; ``names`` are those of `Voice`."""

    turns: Sequence[SpeakerTurn]
    seconds: float
    names: Mapping[int, str] = field(default_factory=dict)
    condition: Condition = SOUND


async def diarize(
    spool: Spool,
    recorder: Recorder,
    decoders: Decoders,
    submit: SubmitRecording,
    voices: Sequence[Voice] = (),
    *,
    max_seconds: float = float("inf"),
    tally: Tally = UNCOUNTED,
    track: TrackWish = ANY_TRACK,
) -> Diarized:
    """Decode ``spool`` while it fills, then tell its speakers apart. The caller closes both.

    ``tally`` hears how long the recording is.

    Raises:
        ReflectorError: the audio is unusable, too long, or the engine fails.
    """
    source = Reading(decoders, Listening(max_seconds, track), spool, tally, recorder)
    try:
        turns, called = await _turns(recorder, submit, voices)
        known = {voice.name for voice in voices}
        names = {speaker: name for speaker, name in called.items() if name in known}
        return Diarized(turns, source.seconds, names, source.condition)
    finally:
        await source.aclose()


async def with_speakers(
    parts: AsyncGenerator[Part, None],
    recorder: Recorder,
    submit: SubmitRecording,
    voices: Sequence[Voice] = (),
) -> AsyncGenerator[Part, None]:
    """``parts`` as they come; the last one has all segments with their speakers as well.

    The diarizer begins as soon as ``recorder`` is complete, long before the recogniser is done.
    Speakers with known ``voices`` get their names.
    """
    turns = asyncio.create_task(_turns(recorder, submit, voices))
    spoken: list[Segment] = []
    try:
        async for part in parts:
            spoken.extend(part.segments)
            if part.duration is None:
                if turns.done():
                    turns.result()  # raises if the diarizer failed: there is no use in going on
                yield part
                continue
            found, names = await turns
            # In a thread: hours of words would hold up other requests.
            told = await asyncio.to_thread(lambda: tuple(attribute(spoken, found, names)))  # noqa: B023
            yield replace(part, attributed=told)
    finally:
        turns.cancel()  # first: a decoder that is stopped looks like one that is done
        await asyncio.gather(turns, return_exceptions=True)
        await parts.aclose()


async def _turns(
    recorder: Recorder, submit: SubmitRecording, voices: Sequence[Voice]
) -> tuple[Sequence[SpeakerTurn], Mapping[int, str]]:
    await asyncio.wrap_future(recorder.complete)
    seconds = recorder.seconds
    if not voices:
        return await submit(recorder), {}
    where = await asyncio.to_thread(known.append, recorder, voices)
    turns = await submit(recorder)
    return known.identify(turns, seconds, [voice.name for voice in voices], where)
