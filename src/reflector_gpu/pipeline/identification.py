"""Speakers that the server knows by their voices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.pipeline.attribution import label
from reflector_gpu.types import SpeakerTurn


@dataclass(frozen=True, slots=True)
class KnownSpeaker:
    """Somebody who is remembered, and how alike the two voices are: 1 is the same voice."""

    name: str
    similarity: float


Identify = Callable[[Recorder, Sequence[SpeakerTurn]], Awaitable[Mapping[int, KnownSpeaker]]]
"""Tells which speakers of a complete recording are known, by their numbers."""


def named(
    turns: Sequence[SpeakerTurn], names: Mapping[int, str], known: Mapping[int, KnownSpeaker]
) -> Mapping[int, str]:
    """What to call everybody who has a turn. ``names`` are of those with a voice from the client.

    Speakers who are neither among these nor ``known`` get letters that are no name of another.
    """
    called = {**names, **{who: one.name for who, one in known.items()}}
    letters = (letter for letter in map(label, count()) if letter not in called.values())
    speakers = dict.fromkeys(turn.speaker for turn in turns)
    return {who: called.get(who) or next(letters) for who in speakers}
