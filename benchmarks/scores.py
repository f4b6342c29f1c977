"""Word error rates: texts made comparable by Whisper's own normaliser, errors counted by jiwer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import jiwer
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

BY_CHARACTERS = frozenset({"ja", "zh"})
"""Languages that put no spaces between words: each character counts as a word."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one kind each, and the words that they are errors of."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def percent(self) -> float:
        """The word error rate."""
        return 100 * self.errors / max(1, self.words)

    def __add__(self, other: Score) -> Score:
        return Score(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def score(language: str, reference: str, heard: str) -> Score:
    """How ``heard`` differs from ``reference``."""
    expected, found = normalised(language, reference), normalised(language, heard)
    if not expected:
        return Score(insertions=len(found.split()))
    counts = jiwer.process_words(expected, found)
    return Score(
        counts.hits + counts.substitutions + counts.deletions,
        counts.substitutions,
        counts.deletions,
        counts.insertions,
    )


def pooled(scores: Iterable[Score]) -> Score:
    """All errors over all words: long recordings weigh more."""
    return sum(scores, Score())


def normalised(language: str, text: str) -> str:
    """``text`` without case, punctuation and, in English, without different spellings."""
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    found: str = _normaliser(language)(text)
    return found.strip()


@cache
def _normaliser(language: str) -> EnglishTextNormalizer | BasicTextNormalizer:
    if language == "en":
        return EnglishTextNormalizer()
    # Without its marks, a word in Hindi falls into pieces.
    return BasicTextNormalizer(preserve_marks=True, split_letters=language in BY_CHARACTERS)
