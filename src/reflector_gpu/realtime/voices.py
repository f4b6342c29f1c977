"""Who says what in a session: letters for people, and their corrections."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice

from reflector_gpu.live.base import LiveSpeakers
from reflector_gpu.pipeline.attribution import label
from reflector_gpu.types import SAMPLE_RATE, Samples, Span, SpeakerTurn

_MOST_SEGMENTS = 4000  # that can still be corrected


@dataclass(frozen=True, slots=True)
class Attributed:
    """A segment that was sent, and who said it: a letter, or nothing if nobody was heard."""

    id: str
    item_id: str
    speaker: str


class Voices:
    """The speakers of one session. It costs nothing until audio is pushed."""

    def __init__(self, make: Callable[[], LiveSpeakers]) -> None:
        self._make = make
        self._speakers: LiveSpeakers | None = None
        self._told: deque[tuple[Attributed, Span]] = deque(maxlen=_MOST_SEGMENTS)

    @property
    def used(self) -> bool:
        """Whether anybody has wanted to know who speaks."""
        return self._speakers is not None

    def push(self, position: int, samples: Samples) -> None:
        """Take the samples of a turn, which begin at this ``position`` of the session."""
        self._speakers = self._speakers or self._make()
        self._speakers.push(position, samples)

    async def room(self) -> None:
        """Wait while too much audio has not been heard yet."""
        if self._speakers:
            await self._speakers.room()

    async def speaker(self, segment_id: str, item_id: str, begin: float, end: float) -> str:
        """Who says a segment, whose times are seconds of the session.

        Raises:
            ReflectorError: the diarizer failed.
        """
        if self._speakers is None:
            return ""
        who = await self._speakers.speaker(begin, end)
        found = Attributed(segment_id, item_id, "" if who is None else label(who))
        self._told.append((found, (begin, end)))
        return found.speaker

    async def corrected(self) -> list[Attributed]:
        """All segments so far, by all that was heard.

        Raises:
            ReflectorError: the diarizer failed.
        """
        if self._speakers is None:
            return []
        told = list(self._told)
        return await self._speakers.corrected(lambda turns: _attributed(told, turns))

    async def aclose(self) -> None:
        """Drop the work."""
        if self._speakers:
            await self._speakers.aclose()


def _attributed(
    told: Sequence[tuple[Attributed, Span]], turns: Sequence[SpeakerTurn]
) -> list[Attributed]:
    """The segments ``told``, each with the speaker of most of it by ``turns``."""
    latest = list(accumulate((turn.end for turn in turns), max))  # never decreases
    found: list[Attributed] = []
    for segment, (begin, end) in told:
        spoken: Counter[int] = Counter()
        for turn in islice(turns, bisect_right(latest, begin), None):
            if turn.start > end:
                break
            if (common := min(turn.end, end) - max(turn.start, begin)) > 0:
                spoken[turn.speaker] += round(common * SAMPLE_RATE)
        who = spoken.most_common(1)
        found.append(replace(segment, speaker=label(who[0][0])) if who else segment)
    return found
