"""Cuts a batch of many lengths into packs that waste little on padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf


def packed(lengths: Sequence[int], most: float, overhead: float) -> list[list[int]]:
    """The indices of ``lengths`` in packs, the longest first.

    A pack costs its number of items times the longest of them, because all are padded to that, and
    ``overhead`` besides. A pack of several items has no more than ``most``, overhead left out. Of
    all ways to cut the sorted items, this is the cheapest.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    best = [0.0]  # the cost of the first n items
    cuts = [0]  # where their last pack begins
    for end in range(1, len(order) + 1):
        cheapest, begin = inf, end - 1
        for first in range(end - 1, -1, -1):
            padded = (end - first) * lengths[order[first]]
            if padded > most and end - first > 1:
                break
            if (cost := best[first] + padded + overhead) < cheapest:
                cheapest, begin = cost, first
        best.append(cheapest)
        cuts.append(begin)
    packs: list[list[int]] = []
    end = len(order)
    while end:
        packs.append(order[cuts[end] : end])
        end = cuts[end]
    return packs[::-1]
