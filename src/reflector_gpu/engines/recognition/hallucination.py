"""Words that a recogniser wrote though nobody said them.

An attention decoder such as Whisper's writes on when there is nothing to hear: it repeats itself,
or guesses. Each function here takes the words of one chunk, in order, and says of each whether to
keep it. None looks at what a word means: people do say "thank you", and say it twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from reflector_gpu.types import Word

Guard: TypeAlias = Callable[[Sequence[Word]], list[bool]]

TIMES = 3
"""In a row, before saying the same is called a loop."""

_SHORTEST_WORD = 0.1  # seconds on average: nobody keeps up more than ten words a second
_LONGEST_WORD = 2.0  # seconds; this and the next three are openai/whisper's (`word_anomaly_score`)
_IMPROBABLE = 0.15
_TOO_SHORT = 0.133 - 1 / 15  # seconds, where its score reaches that of an improbable word
_TOO_LONG = 2.0 + 1
_SILENCE = 1.0  # seconds without a word


def without_impossible_loops(words: Sequence[Word]) -> list[bool]:
    """Keep of a loop what may have been said: "no no no no" can be, a hundred in a second cannot.

    A loop is the same words `TIMES` times in a row or more, at least half of the times faster or
    slower than anybody speaks. Its first time stays, and those after it up to the first that is
    impossible.
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
    """Keep the first time of what ``words`` repeat to their very end, the last time cut short.

    For a text that did not come to its end: the decoder was stopped while it went round.
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
    """Keep all but words between silences that are anomalous, every one of them.

    A silence is a second without a word; before the first and after the last there is one.
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
    """The words of the loop that begins at ``start``, and how many of them may have been said."""
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
            # What is left of a last time that was cut short goes with it.
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
    """Improbable, or of an unlikely length; one that is rather right than wrong only looks odd."""
    if word.probability is None or word.probability >= 0.5:
        return False
    unlikely = not _TOO_SHORT < word.end - word.start < _TOO_LONG
    return unlikely or word.probability < _IMPROBABLE


def _plain(word: Word) -> str:
    return re.sub(r"\W", "", word.text).casefold() or word.text
