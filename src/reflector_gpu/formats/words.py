"""Words and times as clients get them: seconds with two decimals, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from math import inf, isnan

from reflector_gpu.formats.schemas import SpokenWord
from reflector_gpu.types import Word, WordSpaces

STEPS_PER_SECOND = 100
"""The precision of times: two decimals."""

_PROBABILITY_DECIMALS = 4


def seconds(value: float, offset: float = 0.0) -> float:
    """``value`` shifted by ``offset`` and rounded; never ``-0.0``."""
    return round((value + offset) * STEPS_PER_SECOND) / STEPS_PER_SECOND


def spans(words: Iterable[Word], offset: float = 0.0) -> Iterator[tuple[float, float]]:
    """Rounded start and end of every word.

    ``start <= end``, starts never decrease, and a word ends no later than the next one starts.
    Rounding keeps that order. Words that were out of order are put into it.
    """
    rounded = [(seconds(word.start, offset), seconds(word.end, offset)) for word in words]
    starts = accumulate((start for start, _ in rounded), max)
    for (start, following), (_, end) in zip(pairwise(chain(starts, (inf,))), rounded, strict=True):
        yield start, max(start, min(end, following))


def spelled(word: Word, spaces: WordSpaces) -> str:
    """The text of a word, with its leading space if ``spaces`` asks for it."""
    return word.spaced if spaces == "leading" else word.text


def probability(word: Word) -> float | None:
    """The recogniser's confidence in a word, if it has one."""
    if word.probability is None or isnan(word.probability):
        return None
    return round(min(max(word.probability, 0.0), 1.0), _PROBABILITY_DECIMALS)


def spoken_words(
    words: Sequence[Word], spaces: WordSpaces, offset: float = 0.0
) -> tuple[SpokenWord, ...]:
    return tuple(
        SpokenWord(
            word=spelled(word, spaces),
            start=start,
            end=end,
            probability=probability(word),
            speaker=word.speaker,
        )
        for word, (start, end) in zip(words, spans(words, offset), strict=True)
    )
