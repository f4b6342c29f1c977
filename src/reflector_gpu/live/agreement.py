"""Which words of a hypothesis are certain, while the sentence that they belong to goes on.

A recogniser hears the same window again and again, each time with more audio at its end. Words on
which two passes in a row agree are sent (LocalAgreement: Macháček, Dabre and Bojar 2023, "Turning
Whisper into Real-Time Transcription System", https://arxiv.org/abs/2307.14743). One pass suffices
for words of which a recogniser is sure. Words that have been sent are settled: later passes say
what follows them, and never change them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from reflector_gpu.types import Span, Word

_MISPLACED = 1.5
"""The most that a word on the wrong side of a boundary counts. It counts 1 for each second of its
distance to the boundary. A word that differs counts 1."""

_BESIDE_VOICE = 0.3  # seconds by which aligners and the detector may disagree


def beyond(settled: Sequence[Word], heard: Sequence[Word]) -> int:
    """How many of the words ``heard`` are the ``settled`` ones once more.

    Both begin in the same window, but a pass may hear settled words differently, or not at all. So
    this takes the place where the fewest words differ, and fewest are on the wrong side in time.
    """
    if not settled:
        return 0
    boundary = settled[-1].end
    late = [min(_MISPLACED, max(0.0, _middle(word) - boundary)) for word in heard]
    early = [min(_MISPLACED, max(0.0, boundary - _middle(word))) for word in heard]
    distances = _prefix_distances([plain(word) for word in settled], [plain(w) for w in heard])
    misplaced = sum(early)
    best, least = 0, distances[0] + misplaced
    for count in range(1, len(heard) + 1):
        misplaced += late[count - 1] - early[count - 1]
        cost = distances[count] + misplaced
        if cost < least:
            best, least = count, cost
    return best


def agreed(before: Sequence[Word], now: Sequence[Word]) -> int:
    """How many words both passes begin with, whatever their case and punctuation.

    The punctuation after the last word of a pass is a guess, because nothing follows. So the last
    word counts only if the passes spell it in the same way.
    """
    count = 0
    for old, new in zip(before, now, strict=False):
        if plain(old) != plain(new):
            break
        count += 1
    if 0 < count == len(now) and before[count - 1].text != now[count - 1].text:
        count -= 1
    return count


def complete(words: Sequence[Word], until: float) -> int:
    """How many of ``words``, from the first on, end by ``until`` seconds."""
    return next((n for n, word in enumerate(words) if word.end > until), len(words))


def sure(words: Sequence[Word], until: float, probability: float) -> int:
    """How many of ``words``, from the first on, end by ``until`` and are at least so probable."""
    return next(
        (
            n
            for n, word in enumerate(words)
            if word.end > until or (word.probability or 0.0) < probability
        ),
        len(words),
    )


def voiced(words: Sequence[Word], speech: Sequence[Span]) -> list[Word]:
    """``words`` without those that are beside all ``speech``, which nobody can have said."""
    return [
        word
        for word in words
        if any(a < word.end + _BESIDE_VOICE and word.start - _BESIDE_VOICE < b for a, b in speech)
    ]


def ascending(words: Sequence[Word], earliest: float, latest: float) -> list[Word]:
    """``words`` with times that begin at ``earliest``, never decrease, and end by ``latest``."""
    found: list[Word] = []
    for word in words:
        start = min(max(earliest, word.start), max(earliest, latest))
        end = min(max(start, word.end), max(start, latest))
        found.append(replace(word, start=start, end=end))
        earliest = start
    return [
        replace(word, end=min(word.end, found[place + 1].start)) if place + 1 < len(found) else word
        for place, word in enumerate(found)
    ]


def plain(word: Word) -> str:
    """What two spellings of a word have in common."""
    return re.sub(r"[\W_]", "", word.text).casefold() or word.text


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _prefix_distances(settled: Sequence[str], heard: Sequence[str]) -> list[int]:
    """The edit distance of ``settled`` to each prefix of ``heard``, the empty one first."""
    row = list(range(len(heard) + 1))
    for place, word in enumerate(settled, 1):
        diagonal, row[0] = row[0], place
        for count, other in enumerate(heard, 1):
            cost = min(row[count] + 1, row[count - 1] + 1, diagonal + (word != other))
            diagonal, row[count] = row[count], cost
    return row
