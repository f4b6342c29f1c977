"""Finds the ends of sentences in a run of words, for transcripts, speakers and subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol
from unicodedata import east_asian_width

from reflector_gpu.types import Word

PAUSE = 0.6
"""Seconds of silence that always end a sentence."""

UNSCORED_PAUSE = 0.4
"""The same for recognisers without scores, most of which write no full stops."""

CLOSERS = "\"'”’»)]}」』）】〉》"
"""Characters that may follow the full stop of a sentence."""

CLAUSE_ENDS = frozenset(",;:—–、，；：،؛")

_FULL_STOPS = ".…"
_SENTENCE_ENDS = frozenset(_FULL_STOPS + "!?。！？؟।")
_TRAILING = _SENTENCE_ENDS | CLAUSE_ENDS | frozenset(CLOSERS)
_TITLES = frozenset({"mr.", "mrs.", "ms.", "dr.", "prof.", "st."})

# How good a place is for a cut, in units of half the length of the sentence.
_AFTER_CLAUSE, _PAUSED, _INSIDE_WORD = 1.0, 1.0, -4.0


def ends_sentence(text: str, following: str) -> bool:
    """Whether ``text`` ends a sentence: not "Dr.", "J.", or a stop before a lower-case letter."""
    core = text.rstrip(CLOSERS)
    if core[-1:] not in _SENTENCE_ENDS:
        return False
    if core[-1] not in _FULL_STOPS:
        return True
    is_initial = len(core) == 2 and core[0].isalpha()
    return not (is_initial or core.lower() in _TITLES or following[:1].islower())


def ends_clause(text: str) -> bool:
    """Whether a reader pauses after ``text``, at a comma for example."""
    return text.rstrip(CLOSERS)[-1:] in CLAUSE_ENDS


def belongs_behind(text: str) -> bool:
    """Whether ``text`` begins with a mark that may not begin a line, such as a full stop."""
    return text[:1] in _TRAILING


def is_wide(character: str) -> bool:
    """Whether it is a character of Chinese or Japanese, beside which a line may be cut."""
    return character != "" and east_asian_width(character) in "WF"


class Spelled(Protocol):
    """A word, or a part of one. It is ``glued`` if there is no space before it."""

    @property
    def text(self) -> str: ...
    @property
    def glued(self) -> bool: ...


def inside_word(before: Spelled, after: Spelled) -> bool:
    """Whether the two are spelled as one word, or ``after`` is punctuation."""
    if not after.glued:
        return False
    wide = is_wide(before.text[-1:]) or is_wide(after.text[:1])
    return belongs_behind(after.text) or not wide


def sentences(words: Sequence[Word], pause: float = PAUSE) -> Iterator[Sequence[Word]]:
    """``words`` cut after each sentence, and at silences of ``pause`` seconds."""
    begin = 0
    for index, (before, after) in enumerate(pairwise(words), 1):
        silent = after.start - before.end >= pause
        if silent or (not inside_word(before, after) and ends_sentence(before.text, after.text)):
            yield words[begin:index]
            begin = index
    if words:
        yield words[begin:]


def shortened(words: Sequence[Word], longest: float) -> Iterator[Sequence[Word]]:
    """``words`` in runs of ``longest`` seconds at most, unless a single word is longer.

    Cuts are where a reader would pause, and near the middle.
    """
    waiting = [words]
    while waiting:
        run = waiting.pop()
        if len(run) > 1 and run[-1].end - run[0].start > longest:
            cut = _best_cut(run)
            waiting += [run[cut:], run[:cut]]
        elif run:
            yield run


def _best_cut(words: Sequence[Word]) -> int:
    """The index of the word before which to cut ``words``, which are at least two."""
    start, end = words[0].start, words[-1].end

    def goodness(cut: int) -> float:
        before, after = words[cut - 1], words[cut]
        silence = max(0.0, after.start - before.end)
        uneven = abs((before.end - start) - (end - after.start)) / (end - start)
        return (
            _AFTER_CLAUSE * ends_clause(before.text)
            + _PAUSED * min(1.0, silence / PAUSE)
            + _INSIDE_WORD * inside_word(before, after)
            - 2 * uneven
        )

    return max(range(1, len(words)), key=goodness)
