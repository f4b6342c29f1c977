"""Word times held against the voice detector.

An aligner that follows attention gives a word the pause before it, and the full stop behind a word
the word's last sounds. The detector knows where the voice begins and ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import inf
from statistics import median

from reflector_gpu.types import Recognition, Span, Word

_LONGEST_WORD, _SHORTEST_LIMIT = 2.0, 0.5  # times the median word; seconds
_USUAL = 0.7  # seconds: the median of slow speech, as in openai/whisper
_LEAST = 0.1  # seconds of a word
_NEXT_VOICE = 0.1  # seconds, up to which a voice at the end of a sentence is the next one's
_PAUSED = ".,;:!?…。、"
"""What is behind a word that a pause may follow. Behind others the pause is before the word."""


def bounded(found: Recognition, voiced: Sequence[Span]) -> Recognition:
    """``found``, its words cut so that none covers the pause beside it.

    A word that takes far longer than most is moved to the last stretch of voice in it.
    """
    words = _words(found)
    limit = _limit(words)
    return _with(found, (_cut(word, limit, voiced) for word in words))


def prolonged(found: Recognition, voiced: Sequence[Span]) -> Recognition:
    """``found``, its words prolonged as long as the voice goes on.

    None reaches into the next word, nor becomes far longer than most.
    """
    words = _words(found)
    limit = _limit(words)
    starts = [*(word.start for word in words), inf]
    return _with(
        found,
        (_longer(word, starts[place + 1], limit, voiced) for place, word in enumerate(words)),
    )


def _words(found: Recognition) -> list[Word]:
    return [word for segment in found.segments for word in segment.words]


def _with(found: Recognition, words: Iterator[Word]) -> Recognition:
    made = list(words)
    if all(word is before for word, before in zip(made, _words(found), strict=True)):
        return found
    rest = iter(made)
    segments = tuple(
        replace(segment, words=tuple(islice(rest, len(segment.words))))
        for segment in found.segments
    )
    return replace(found, segments=segments)


def _limit(words: Sequence[Word]) -> float:
    """Seconds; a word that is longer has something else in it."""
    usual = median(word.end - word.start for word in words) if words else _USUAL
    return max(_SHORTEST_LIMIT, _LONGEST_WORD * min(_USUAL, usual))


def _cut(word: Word, usual: float, voiced: Sequence[Span]) -> Word:
    limit = usual * (1 + word.text.strip("-").count("-"))  # what is spelled, as in "1-0-0-3"
    if word.end - word.start <= limit:
        return word
    least = _NEXT_VOICE if word.text[-1:] in _PAUSED else 0.0
    pieces = [(max(a, word.start), min(b, word.end)) for a, b in voiced]
    heard = [(a, b) for a, b in pieces if b > a and b - a >= least]
    begin, end = heard[-1] if heard else (word.start, word.end)
    start = max(word.start, end - limit, min(begin, end - _LEAST))
    return replace(word, start=start, end=end)


def _longer(word: Word, next_start: float, limit: float, voiced: Sequence[Span]) -> Word:
    voice_end = next((b for a, b in voiced if a <= word.end < b), word.end)
    end = min(voice_end, next_start, word.start + limit)
    return replace(word, end=end) if end > word.end else word
