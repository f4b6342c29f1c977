"""Which of two is faster, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

ROUNDS = 5


def times_as_fast(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = ROUNDS
) -> tuple[float, str]:
    """How many times as fast as ``theirs`` is ``ours``: the median of rounds side by side.

    They take turns at going first. With it comes the spread of the rounds, to be read.
    """
    ratios: list[float] = []
    for number in range(rounds):
        if number % 2:
            mine, other = seconds(ours), seconds(theirs)
        else:
            other, mine = seconds(theirs), seconds(ours)
        ratios.append(other / mine)
    return statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"


def seconds(do: Callable[[], object]) -> float:
    """How many ``do`` takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
