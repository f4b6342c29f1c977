"""Subtitle cues from words: which words are shown together, in which lines, for how long.

Two lines of 42 columns and 5/6 to 7 seconds are the limits of Netflix's Timed Text Style Guide
(General Requirements; English), and 17 characters a second is its reading speed. The BBC Subtitle
Guidelines (5.2, 3.2) are why a cue outlasts its speech by 1.5 seconds at most, and holds one
sentence where it can.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from reflector_gpu.formats.tokens import (
    MAX_COLUMNS,
    Token,
    columns,
    labelled_tokens,
    tokens,
)
from reflector_gpu.sentences import PAUSE, belongs_behind, ends_clause, ends_sentence, inside_word
from reflector_gpu.types import Transcript

MAX_LINES = 2
MAX_SECONDS = 7.0
MIN_SECONDS = 5 / 6
COLUMNS_PER_SECOND = 17
MAX_LINGER = 1.5
"""Longest time in seconds that a cue stays after its last word."""

# What it costs to cut between two tokens. Cues and lines have the same costs.
_AFTER_SENTENCE, _AFTER_CLAUSE, _BETWEEN_WORDS, _INSIDE_WORD, _NEVER = 0.0, 1.0, 3.0, 6.0, 100.0
# What a cue costs: for itself, for each sentence that ends inside, for being brief, and for being
# too fast to read.
_CUE, _SENTENCE_INSIDE, _TOO_BRIEF, _TOO_FAST = 1.0, 1.5, 4.0, 6.0
# Columns of difference between two lines that weigh as much as one unit of cost.
_COLUMNS_PER_COST = 10.0


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines shown from ``start`` to ``end`` (milliseconds, ``start < end``)."""

    start: int
    end: int
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """The tokens of one cue, and what it costs to cut between each two of them."""

    tokens: list[Token]
    joints: list[float]

    @property
    def start(self) -> float:
        return self.tokens[0].start

    @property
    def end(self) -> float:
        return self.tokens[-1].end


def cues(transcript: Transcript, *, offset: float = 0.0) -> list[Cue]:
    """Cues in order. They never overlap, and each has one speaker."""
    return _all(tokens(transcript.segments), transcript.duration, offset)


def labelled_cues(transcript: Transcript, *, offset: float = 0.0) -> list[Cue]:
    """`cues` whose text names the speaker (``Anna: …``) where the speaker changes."""
    return _all(labelled_tokens(transcript.segments), transcript.duration, offset)


def _all(stream: Iterable[Token], duration: float, offset: float) -> list[Cue]:
    made = CueStream(offset)
    return [*made.add(stream), *made.end(duration)]


class CueStream:
    """Cues of a transcript that still grows. A cue does not change once it has been given out.

    The cues of a stretch without a pause depend on all of it. They are given out when the first
    token after its pause arrives. ``offset`` is added to every time.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset
        self._run: list[Token] = []  # since the last pause
        self._free_from = 0

    def add(self, stream: Iterable[Token]) -> list[Cue]:
        """Add the tokens in ``stream``, and return the cues that they settle."""
        runs = list(_runs([*self._run, *stream]))
        if not runs:
            return []
        *settled, (self._run, _) = runs
        groups = [group for run, silence in settled for group in _divided(run, silence)]
        return self._shown(groups, self._run[0].start)

    def end(self, duration: float) -> list[Cue]:
        """The remaining cues of a recording of ``duration`` seconds."""
        groups = list(_divided(self._run, math.inf)) if self._run else []
        return self._shown(groups, max(duration, self._run[-1].end) if self._run else duration)

    def _shown(self, groups: list[_Group], limit: float) -> list[Cue]:
        """Cues that stay until they can be read, as far as the silence after them allows.

        ``limit`` is the start of what follows the last one.
        """
        made: list[Cue] = []
        for group, following in zip_longest(groups, groups[1:]):
            start = max(self._free_from, _milliseconds(group.start + self._offset))
            width = columns(_joined(group.tokens))  # readers read spaces too
            read_in = max(MIN_SECONDS, width / COLUMNS_PER_SECOND)
            wanted = max(group.end, min(group.start + read_in, group.end + MAX_LINGER))
            gone = min(wanted, following.start if following else limit)
            end = _milliseconds(gone + self._offset)
            longest = start + _milliseconds(MAX_SECONDS)
            self._free_from = max(start + 1, min(end, longest))
            made.append(Cue(start, self._free_from, _lines(group), group.tokens[0].speaker))
        return made


def _runs(stream: list[Token]) -> Iterator[tuple[list[Token], float]]:
    """Stretches without a pause or a change of speaker, each with the silence after it."""
    begin = 0
    for number, (before, after) in enumerate(pairwise(stream), 1):
        silence = after.start - before.end
        if silence >= PAUSE or before.speaker != after.speaker:
            yield stream[begin:number], silence
            begin = number
    if stream:
        yield stream[begin:], math.inf


def _divided(run: list[Token], silence: float) -> Iterator[_Group]:
    """Cut ``run`` into cues at the least cost: the shortest path over all cues that fit."""
    joints = [_joint(before, after) for before, after in pairwise(run)]
    cut_after = [*joints, 0.0]
    next_start = [*(token.start for token in run[1:]), run[-1].end + silence]
    gone_at = [min(at, token.end + MAX_LINGER) for at, token in zip(next_start, run, strict=True)]
    cheapest = [0.0] + [math.inf] * len(run)
    begins = [0] * (len(run) + 1)
    for first, head in enumerate(run):
        line, column, width, sentences = 1, 0, 0, 0
        for last in range(first, len(run)):
            token = run[last]
            extended = column + token.columns + (column > 0 and not token.glued)
            if extended <= MAX_COLUMNS:
                column = extended
            elif line < MAX_LINES:
                line, column = line + 1, token.columns
            else:
                break
            if last > first:
                if token.end - head.start > MAX_SECONDS:
                    break
                sentences += joints[last - 1] == _AFTER_SENTENCE
            width += token.columns + (last > first and not token.glued)
            cost = cheapest[first] + _CUE + cut_after[last] + _SENTENCE_INSIDE * sentences
            cost += (width / (MAX_COLUMNS * MAX_LINES)) ** 2  # least when all cues are equally full
            shown = gone_at[last] - head.start
            if shown < MIN_SECONDS:
                cost += _TOO_BRIEF * (1 - shown / MIN_SECONDS)
            readable = max(shown, MIN_SECONDS / 2) * COLUMNS_PER_SECOND
            cost += _TOO_FAST * min(1.0, max(0.0, width / readable - 1))
            if cost < cheapest[last + 1]:
                cheapest[last + 1], begins[last + 1] = cost, first
    ends = [len(run)]
    while ends[-1]:
        ends.append(begins[ends[-1]])
    for begin, end in pairwise(reversed(ends)):
        yield _Group(run[begin:end], joints[begin : end - 1])


def _joint(before: Token, after: Token) -> float:
    """What it costs to cut between two tokens."""
    if before.is_label or (after.glued and belongs_behind(after.text)):
        return _NEVER
    if inside_word(before, after):
        return _INSIDE_WORD
    if before.ends_segment or ends_sentence(before.text, after.text):
        return _AFTER_SENTENCE
    if ends_clause(before.text):
        return _AFTER_CLAUSE
    return _BETWEEN_WORDS


def _milliseconds(value: float) -> int:
    return max(0, round(value * 1000))


def _lines(group: _Group) -> tuple[str, ...]:
    """The text in one line if it fits, or in two of similar width, cut at a good place."""
    whole = _joined(group.tokens)
    if columns(whole) <= MAX_COLUMNS:
        return (whole,)
    choices = []
    for number, joint in enumerate(group.joints, 1):
        upper, lower = _joined(group.tokens[:number]), _joined(group.tokens[number:])
        widths = columns(upper), columns(lower)
        if max(widths) <= MAX_COLUMNS:
            uneven = abs(widths[0] - widths[1])
            choices.append((uneven + _COLUMNS_PER_COST * joint, (upper, lower)))
    return min(choices)[1]


def _joined(line: list[Token]) -> str:
    return "".join(
        token.text if token.glued or number == 0 else f" {token.text}"
        for number, token in enumerate(line)
    )
