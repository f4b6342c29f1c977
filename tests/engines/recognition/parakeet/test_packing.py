"""Cutting a batch into packs: the cheapest way to cut it, within the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.parakeet.pytorch.packing import packed


def cost(lengths: list[int], packs: list[list[int]], overhead: float) -> float:
    return sum(len(pack) * max(lengths[i] for i in pack) + overhead for pack in packs)


def all_cuts(order: list[int]) -> list[list[list[int]]]:
    if not order:
        return [[]]
    return [
        [order[:end], *rest] for end in range(1, len(order) + 1) for rest in all_cuts(order[end:])
    ]


@given(
    lengths=st.lists(st.integers(1, 20), max_size=7),
    most=st.floats(1, 100),
    overhead=st.floats(0, 30),
)
def test_it_is_the_cheapest_of_all_ways(lengths: list[int], most: float, overhead: float) -> None:
    packs = packed(lengths, most, overhead)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert all(len(p) == 1 or len(p) * max(lengths[i] for i in p) <= most for p in packs)
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    allowed = [
        cuts
        for cuts in all_cuts(order)
        if all(len(p) == 1 or len(p) * lengths[p[0]] <= most for p in cuts)
    ]
    best = min(cost(lengths, cuts, overhead) for cuts in allowed)
    assert cost(lengths, packs, overhead) == pytest.approx(best)


def test_the_longest_come_first() -> None:
    """So that what does not fit into memory shows at once."""
    packs = packed([3, 30, 5, 28, 4], most=1000, overhead=4)
    assert packs == [[1, 3], [2, 4, 0]]
