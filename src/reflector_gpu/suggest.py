"""Which name was probably meant by one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 64
"""Characters of a name that is worth comparing; none of ours is longer."""


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``name`` misspells, if any.

    Case, underscores and hyphens do not count. Otherwise a name of four to nine letters may be
    one mistake away, a longer one two, and one of sixteen or more three; a mistake is a letter
    too many, too few, wrong, or swapped with its neighbour. Names of less than four letters
    are too close to everything.
    """
    if len(name) > _LONGEST:
        return None
    sent = _letters(name)
    if not sent:
        return None
    near = [
        (mistakes, candidate[0].lower() != sent[0], candidate)  # few mistype the first letter
        for candidate in known
        if (mistakes := _mistakes(sent, _letters(candidate))) is not None
    ]
    return min(near)[-1] if near else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _mistakes(sent: str, meant: str) -> int | None:
    """How many lie between the two; None if that is too many."""
    allowed = 0 if len(meant) < 4 else 1 if len(meant) < 10 else 2 if len(meant) < 16 else 3
    if abs(len(sent) - len(meant)) > allowed:
        return None
    found = _distance(sent, meant)
    return found if found <= allowed else None


def _distance(one: str, other: str) -> int:
    """Optimal string alignment: Levenshtein's distance, and swapped neighbours count one."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before_that, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before_that[j - 2] + 1)
            row.append(cost)
    return row[-1]
