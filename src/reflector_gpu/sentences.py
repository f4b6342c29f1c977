"""Where sentences end in a run of words: for transcripts, speakers and subtitles alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol
from unicodedata import east_asian_width

from reflector_gpu.types import Word

PAUSE = 0.6
"""A silence that always ends a sentence, seconds."""

UNSCORED_PAUSE = 0.4
"""The same where a recogniser gives no scores: most of those write no full stops."""

CLOSERS = "\"'”’»)]}」』）】〉》"
"""What may stand behind the full stop of a sentence."""

CLAUSE_ENDS = frozenset(",;:—–、，；：،؛")

_FULL_STOPS = ".…"
_SENTENCE_ENDS = frozenset(_FULL_STOPS + "!?。！？؟।")
_TRAILING = _SENTENCE_ENDS | CLAUSE_ENDS | frozenset(CLOSERS)
_TITLES = frozenset({"mr.", "mrs.", "ms.", "dr.", "prof.", "st."})

# How good a place is to cut a long sentence at; each is worth as much as half of its length.
_AFTER_CLAUSE, _PAUSED, _INSIDE_WORD = 1.0, 1.0, -4.0


def ends_sentence(text: str, following: str) -> bool:
    """Whether ``text`` ends one: not as "Dr.", as "J." or before a lower-case letter."""
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
    """Whether ``text`` begins with what may not begin a line: a full stop, or a bracket closed."""
    return text[:1] in _TRAILING


def is_wide(character: str) -> bool:
    """Whether it is one of those of Chinese or Japanese, between which a line may be cut."""
    return character != "" and east_asian_width(character) in "WF"


class Spelled(Protocol):
    """A word or a part of one; it is ``glued`` if no space stands before it."""

    @property
    def text(self) -> str: ...
    @property
    def glued(self) -> bool: ...


def inside_word(before: Spelled, after: Spelled) -> bool:
    """Whether the two are spelled as one word, or ``after`` is punctuation that follows."""
    if not after.glued:
        return False
    wide = is_wide(before.text[-1:]) or is_wide(after.text[:1])
    return belongs_behind(after.text) or not wide


def sentences(words: Sequence[Word], pause: float = PAUSE) -> Iterator[Sequence[Word]]:
    """``words`` cut behind each sentence, and where there is silence for ``pause`` seconds."""
    begin = 0
    for index, (before, after) in enumerate(pairwise(words), 1):
        silent = after.start - before.end >= pause
        if silent or (not inside_word(before, after) and ends_sentence(before.text, after.text)):
            yield words[begin:index]
            begin = index
    if words:
        yield words[begin:]


def shortened(words: Sequence[Word], longest: float) -> Iterator[Sequence[Word]]:
    """``words`` in runs of no more than ``longest`` seconds, as far as single words allow.

    They are cut where a reader would pause, and not far from the middle.
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
    """Before which word to cut ``words``, of which there are at least two."""
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
