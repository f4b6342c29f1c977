"""Finds the name that was probably meant by one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 64
"""Characters of the longest name that is compared; none of ours is longer."""


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``name`` misspells, if any.

    Case, underscores and hyphens do not count. A known name of four to nine letters may have one
    mistake, a longer one two, and one of sixteen or more three. A mistake is a letter too many, too
    few, wrong, or swapped with its neighbour. Names of fewer than four letters allow none.
    """
    if len(name) > _LONGEST:
        return None
    sent = _letters(name)
    if not sent:
        return None
    near = [
        (
            mistakes,
            candidate[0].lower() != sent[0],
            candidate,
        )  # people seldom mistype the first letter
        for candidate in known
        if (mistakes := _mistakes(sent, _letters(candidate))) is not None
    ]
    return min(near)[-1] if near else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _mistakes(sent: str, meant: str) -> int | None:
    """The number of mistakes in ``sent``; None if there are too many."""
    allowed = 0 if len(meant) < 4 else 1 if len(meant) < 10 else 2 if len(meant) < 16 else 3
    if abs(len(sent) - len(meant)) > allowed:
        return None
    found = _distance(sent, meant)
    return found if found <= allowed else None


def _distance(one: str, other: str) -> int:
    """Optimal string alignment: Levenshtein's distance in which swapped neighbours count as one."""
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
