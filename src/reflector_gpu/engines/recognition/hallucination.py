"""Finds words that a recogniser wrote although nobody said them.

An attention decoder such as Whisper's goes on writing when there is nothing to hear: it repeats
itself, or guesses. Each function here takes the words of one chunk, in order, and says for each
whether to keep it. The meaning of words does not count: people say "thank you", even twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from reflector_gpu.types import Word

Guard: TypeAlias = Callable[[Sequence[Word]], list[bool]]

TIMES = 3
"""So many repetitions in a row are a loop."""

_SHORTEST_WORD = 0.1  # seconds on average: nobody speaks more than ten words a second for long
_LONGEST_WORD = 2.0  # seconds; this and the next three are openai/whisper's (`word_anomaly_score`)
_IMPROBABLE = 0.15
_TOO_SHORT = 0.133 - 1 / 15  # seconds, where its score reaches that of an improbable word
_TOO_LONG = 2.0 + 1
_SILENCE = 1.0  # seconds without a word


def without_impossible_loops(words: Sequence[Word]) -> list[bool]:
    """Drop repetitions that nobody can have said: "no no no no" may be said, but not a hundred
    times a second.

    A loop is the same words at least `TIMES` times in a row, of which half or more are faster or
    slower than anybody speaks. The first repetition stays, and so do the next ones up to the first
    that is impossible.
    """
    texts = [_plain(word) for word in words]
    kept = [True] * len(words)
    start = 0
    while start < len(words):
        length, first_impossible = _loop(texts, words, start)
        kept[start + first_impossible : start + length] = [False] * (length - first_impossible)
        start += max(1, length)
    return kept


def without_ending_loop(words: Sequence[Word]) -> list[bool]:
    """Keep the first repetition of what ``words`` repeat up to their end.

    This is for a text whose decoder was stopped while it looped.
    """
    texts = [_plain(word) for word in words]
    for unit in range(1, len(texts) // TIMES + 1):
        same = 0
        while same + unit < len(texts) and texts[-1 - same] == texts[-1 - same - unit]:
            same += 1
        if same + unit >= TIMES * unit:
            return [True] * (len(texts) - same) + [False] * same
    return [True] * len(texts)


def without_guesses(words: Sequence[Word]) -> list[bool]:
    """Drop groups of words in which every word is anomalous.

    A group ends with a second without a word.
    """
    kept: list[bool] = []
    group: list[Word] = []
    for word in words:
        if group and word.start - group[-1].end >= _SILENCE:
            kept += [not _all_anomalous(group)] * len(group)
            group = []
        group.append(word)
    return kept + [not _all_anomalous(group)] * len(group)


def _loop(texts: Sequence[str], words: Sequence[Word], start: int) -> tuple[int, int]:
    """How many words the loop at ``start`` has, and how many of them may have been said."""
    for unit in range(1, (len(texts) - start) // TIMES + 1):
        end = start + unit
        while end < len(texts) and texts[end] == texts[end - unit]:
            end += 1
        if end - start < TIMES * unit:
            continue
        possible = [
            _possible(words[begin : begin + unit]) for begin in range(start, end - unit + 1, unit)
        ]
        if possible.count(False) * 2 >= len(possible):
            # A last repetition that is cut short belongs to the loop.
            length = end - start if end == len(texts) else len(possible) * unit
            return length, max(1, possible.index(False)) * unit
    return 0, 0


def _possible(words: Sequence[Word]) -> bool:
    taken = words[-1].end - words[0].start
    return taken >= len(words) * _SHORTEST_WORD and all(
        word.end - word.start <= _LONGEST_WORD for word in words
    )


def _all_anomalous(words: Sequence[Word]) -> bool:
    return all(_anomalous(word) for word in words)


def _anomalous(word: Word) -> bool:
    """Whether a word is improbable or of an unlikely length, and rather wrong than right."""
    if word.probability is None or word.probability >= 0.5:
        return False
    unlikely = not _TOO_SHORT < word.end - word.start < _TOO_LONG
    return unlikely or word.probability < _IMPROBABLE


def _plain(word: Word) -> str:
    return re.sub(r"\W", "", word.text).casefold() or word.text
