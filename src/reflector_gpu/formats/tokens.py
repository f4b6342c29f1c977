"""The unbreakable pieces of text that subtitle cues are built from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from unicodedata import east_asian_width

from reflector_gpu.formats.speakers import monologues
from reflector_gpu.types import Segment, Word

MAX_COLUMNS = 42
"""Width of a line, from Netflix's Timed Text Style Guide for English."""

_UNSPACED = "\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
_ATOM = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
"""A word, or a single character of Chinese or Japanese."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text without white space, no wider than a line.

    A ``glued`` token has no space before it. A label (``Anna:``) takes no time.
    """

    text: str
    columns: int
    start: float
    end: float
    glued: bool
    speaker: str | None
    ends_segment: bool = False
    is_label: bool = False


def columns(text: str) -> int:
    """The width of ``text`` on the screen. East Asian wide characters take two columns."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def tokens(segments: Iterable[Segment]) -> Iterator[Token]:
    for segment in segments:
        for part in monologues(segment):
            words = part.words or _timed_by_length(part)
            pieces = [piece for word in words for piece in _pieces(word, part.speaker)]
            if pieces:
                yield from pieces[:-1]
                yield replace(pieces[-1], ends_segment=True)


def labelled_tokens(segments: Iterable[Segment]) -> Iterator[Token]:
    """`tokens`, with a label wherever the speaker changes."""
    speaker = None
    for token in tokens(segments):
        if token.speaker and token.speaker != speaker:
            label = Word(f"{token.speaker}:", token.start, token.start)
            for piece in _pieces(label, token.speaker):
                yield replace(piece, is_label=True)
        speaker = token.speaker
        yield token


def _timed_by_length(segment: Segment) -> list[Word]:
    """Words for a segment that has none, with its time spread evenly over their columns."""
    atoms = list(_ATOM.finditer(segment.text))
    glued = [False, *(before.end() == after.start() for before, after in pairwise(atoms))]
    times = _spread([columns(atom[0]) for atom in atoms], segment.start, segment.end)
    return [
        Word(atom[0], start, end, glued=is_glued)
        for atom, is_glued, (start, end) in zip(atoms, glued, times, strict=False)
    ]


def _pieces(word: Word, speaker: str | None) -> list[Token]:
    """The tokens of ``word``, which is cut where it is wider than a line."""
    texts: list[tuple[str, bool]] = []
    for part in word.text.split():
        for number, text in enumerate(_hard_wrapped(part)):
            texts.append((text, number > 0 or (word.glued and not texts)))
    widths = [columns(text) for text, _ in texts]
    return [
        Token(text, width, start, end, glued, speaker)
        for (text, glued), width, (start, end) in zip(
            texts, widths, _spread(widths, word.start, word.end), strict=True
        )
    ]


def _hard_wrapped(text: str) -> list[str]:
    if columns(text) <= MAX_COLUMNS:
        return [text]
    lines, width = [""], 0
    for character in text:
        width += columns(character)
        if width > MAX_COLUMNS:
            lines.append("")
            width = columns(character)
        lines[-1] += character
    return lines


def _spread(weights: Sequence[int], start: float, end: float) -> Iterable[tuple[float, float]]:
    """The time from ``start`` to ``end``, divided in proportion to ``weights``."""
    if len(weights) == 1:
        return [(start, end)]
    total, done = sum(weights), 0
    bounds = [start]
    for weight in weights:
        done += weight
        bounds.append(start + (end - start) * done / total)
    return pairwise(bounds)
