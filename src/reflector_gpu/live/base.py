"""What live recognition takes and gives: samples as they are spoken, words as they are certain.

A session has one `LiveTranscriber`, and a `LiveUtterance` for each turn::

    utterance = transcriber.utterance()
    utterance.push(samples)  # as they come
    utterance.finish()  # the turn has ended
    async with aclosing(utterance):
        async for heard in utterance:
            ...  # heard.settled comes once, heard.tentative may change
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from reflector_gpu.types import Samples, SpeakerTurn, Word

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """What is new. Times are in seconds from the beginning of the utterance.

    ``settled`` words follow those that were given before, and never change. ``tentative`` ones are
    what is heard beyond them at present, in place of earlier tentative ones. ``language`` is the
    spoken one, in the model's own code, if it is known.
    """

    settled: tuple[Word, ...] = ()
    tentative: tuple[Word, ...] = ()
    language: str | None = None


class LiveUtterance(Protocol):
    """One stretch of speech, recognised while it is spoken. It belongs to one event loop."""

    def push(self, samples: Samples, probabilities: Samples | None = None) -> None:
        """Take the next ``samples``. This neither blocks nor drops any.

        A caller that has run the detector gives its ``probabilities``, one for each window. Then
        ``samples`` have to be whole windows.
        """
        ...

    def finish(self) -> None:
        """Say that no more samples come. Calling it again does nothing."""
        ...

    def __aiter__(self) -> AsyncIterator[Heard]:
        """What is heard, as it becomes known. It ends once the last words are settled.

        Only one may iterate at a time.

        Raises:
            ReflectorError: the engine failed, or cannot work.
        """
        ...

    async def aclose(self) -> None:
        """Stop the work and free what it holds, at any time. Iterating ends then."""
        ...


class LiveSpeakers(Protocol):
    """Tells the speakers of one session while they speak. It belongs to one event loop."""

    def push(self, position: int, samples: Samples) -> None:
        """Take the samples from ``position`` on. What is left out before them is silence."""

    async def room(self) -> None:
        """Wait while too much audio has not been heard yet."""

    async def speaker(self, start: float, end: float) -> int | None:
        """Who speaks most of the time between two seconds of the session; None if nobody does.

        A number stays with the same person. Raises `ReflectorError` if the diarizer failed.
        """
        ...

    async def corrected(self, use: Callable[[Sequence[SpeakerTurn]], T]) -> T:
        """What ``use`` makes, in a thread, of all turns, corrected by what was heard after them.

        People keep their numbers where they can. Raises `ReflectorError` if the diarizer failed.
        """
        ...

    async def aclose(self) -> None:
        """Drop the work."""


class LiveTranscriber(Protocol):
    """Makes the utterances of one session, which follow each other."""

    def utterance(self) -> LiveUtterance:
        """The next utterance. Recognition begins with its first samples."""
        ...
