"""Speakers by name: known voices are appended to the recording and diarized with it.

A speaker who is found in the stretch of a voice gets its name. So this works with every diarizer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import Decoders
from reflector_gpu.decoding.messages import Ended, Passed
from reflector_gpu.decoding.tasks import Sampling
from reflector_gpu.errors import InvalidRequest, TooLarge, UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, Span, SpeakerTurn

LONGEST = 30.0
"""Seconds that a voice may have; OpenAI's clients are told to send two to ten."""

SHORTEST = 1.5
"""Seconds of speech in it; voices cannot be told apart by less."""

_APART = np.zeros(SAMPLE_RATE, np.float32)
"""The silence before each voice, so that no turn runs from one into the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """How somebody sounds: ``samples`` are ``float32[n]`` of them alone."""

    name: str
    samples: Samples


_PARAM = "known_speaker_references"


async def voice(name: str, spool: Spool, decoders: Decoders, param: str = _PARAM) -> Voice:
    """Decode the voice that is in ``spool``, which must be complete. It came in ``param``.

    Raises:
        InvalidRequest: not audio, longer than `LONGEST`, or less speech than `SHORTEST`.
    """
    heard, samples = 0.0, np.zeros(0, np.float32)
    try:
        async with aclosing(decoders.run(Sampling(LONGEST), spool)) as told:
            async for message, data in told:
                if isinstance(message, Passed):
                    heard = message.seconds
                elif isinstance(message, Ended):
                    samples = np.frombuffer(data, np.float32)
    except (UndecodableAudio, TooLarge) as error:
        raise InvalidRequest(f"The voice of '{name}': {error}", param=param) from error
    if heard < SHORTEST:
        raise InvalidRequest(
            f"The voice of '{name}' holds {heard:.1f} seconds of speech; send two to ten.",
            param=param,
        )
    return Voice(name, samples)


def allowing_for(options: DiarizeOptions, voices: Sequence[Voice]) -> DiarizeOptions:
    """``options`` for the recording and the ``voices`` behind it, which may be new ones."""
    if not voices or options == DiarizeOptions():
        return options
    most = options.most
    return DiarizeOptions(
        min_speakers=options.fewest, max_speakers=None if most is None else most + len(voices)
    )


def append(recorder: Recorder, voices: Iterable[Voice]) -> list[Span]:
    """Write ``voices`` behind all that ``recorder`` holds; where each begins and ends, seconds.

    Raises:
        StorageFull: the disk is full.
    """
    found: list[Span] = []
    for one in voices:
        recorder.append(_APART)
        begin = recorder.seconds
        recorder.append(one.samples)
        found.append((begin, recorder.seconds))
    return found


def identify(
    turns: Iterable[SpeakerTurn], seconds: float, names: Sequence[str], where: Sequence[Span]
) -> tuple[list[SpeakerTurn], dict[int, str]]:
    """The turns of the first ``seconds``, and the names of those in them who have a voice.

    If the diarizer takes two voices for one speaker, the voice that is heard longer gives the name.
    """
    turns = list(turns)
    shared: Counter[tuple[int, str]] = Counter()
    for name, (begin, end) in zip(names, where, strict=True):
        for turn in turns:
            common = min(turn.end, end) - max(turn.start, begin)
            if common > 0:
                shared[turn.speaker, name] += round(common * SAMPLE_RATE)
    known: dict[int, str] = {}
    for (speaker, name), _ in shared.most_common():
        if speaker not in known and name not in known.values():
            known[speaker] = name
    inside = [replace(t, end=min(t.end, seconds)) for t in turns if t.start < seconds]
    order = {speaker: i for i, speaker in enumerate(dict.fromkeys(t.speaker for t in inside))}
    called = {i: known[speaker] for speaker, i in order.items() if speaker in known}
    return [replace(turn, speaker=order[turn.speaker]) for turn in inside], called
