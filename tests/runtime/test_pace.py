"""How much of a long file may go into one batch, as the workers' speed and live work have it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.runtime.pace import (
    CONTESTED_SECONDS,
    FILE_SECONDS,
    MEMORY_SECONDS,
    Pace,
)
from tests.runtime.clock import Clock
from tests.waiting import patient


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock)


def test_nothing_is_bounded_before_anything_was_measured(pace: Pace) -> None:
    assert pace.rate == pace.file_cost == float("inf")


def test_a_file_gets_a_second_of_work_at_a_time(pace: Pace) -> None:
    pace.worked(cost=60, seconds=2)
    assert pace.rate == pytest.approx(30)
    assert pace.file_cost == pytest.approx(30 * FILE_SECONDS)


def test_it_gets_less_for_as_long_as_somebody_has_been_waiting_live(
    pace: Pace, clock: Clock
) -> None:
    pace.worked(cost=60, seconds=2)
    pace.live_arrived()
    clock.advance(MEMORY_SECONDS - 0.1)
    assert pace.file_cost == pytest.approx(30 * CONTESTED_SECONDS)
    clock.advance(0.2)
    assert pace.file_cost == pytest.approx(30 * FILE_SECONDS)


def test_where_live_work_runs_elsewhere_nothing_is_bounded(clock: Clock) -> None:
    pace = Pace(clock, interruptible=False)
    pace.worked(cost=60, seconds=2)
    pace.live_arrived()
    assert pace.file_cost == float("inf")


def test_the_latest_batches_count_most(pace: Pace) -> None:
    for _ in range(20):
        pace.worked(cost=10, seconds=1)
    for _ in range(20):
        pace.worked(cost=100, seconds=1)
    assert 95 < pace.rate <= 100


def test_a_batch_that_takes_long_whatever_is_in_it_is_worth_filling(pace: Pace) -> None:
    """Else it would shrink, seem slower for it, and shrink again."""
    cost = 480.0
    for _ in range(40):
        pace.worked(cost, 0.8 + 0.1 * cost / 30)
        cost = max(30.0, min(480.0, pace.file_cost // 30 * 30))
    assert cost >= 0.75 * 30 * 0.8 / 0.1  # as much time as the batch takes for itself


@patient
@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(1e-3, 1e3)), min_size=1))
def test_the_rate_lies_between_the_slowest_batch_and_the_fastest(
    batches: list[tuple[float, float]],
) -> None:
    pace = Pace()
    for cost, seconds in batches:
        pace.worked(cost, seconds)
    rates = [cost / seconds for cost, seconds in batches]
    assert min(rates) * 0.999 <= pace.rate <= max(rates) * 1.001
