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

    With it their spread, to be read.
    """
    ratios: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        theirs()
        middle = time.perf_counter()
        ours()
        ratios.append((middle - began) / (time.perf_counter() - middle))
    return statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"
