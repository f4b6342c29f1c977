"""How much of a long file may go into one batch, as the workers' speed and live work have it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.runtime.pace import (
    CONTESTED_SECONDS,
    FILE_SECONDS,
    MEMORY_SECONDS,
    PATIENCE,
    ROUND,
    Pace,
)
from tests.runtime.clock import Clock
from tests.waiting import patient

PIECE = 32.0
MAX_BATCH = 16


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock)


def pieces(pace: Pace) -> int:
    """How many of a long file the next batch has, if enough wait."""
    return max(1, min(MAX_BATCH, int(pace.file_cost // PIECE)))


def work(pace: Pace, fixed: float, each: float, batches: int = 100) -> list[int]:
    """Run them on a worker that takes ``fixed + each * pieces`` seconds; how long they were."""
    sizes: list[int] = []
    for _ in range(batches):
        sizes.append(pieces(pace))
        pace.worked(sizes[-1], sizes[-1] * PIECE, fixed + each * sizes[-1])
    return sizes


def test_the_first_batch_is_a_single_piece(pace: Pace) -> None:
    assert pace.file_cost == 0


def test_a_file_gets_a_second_of_work_at_a_time(pace: Pace) -> None:
    sizes = work(pace, fixed=0, each=0.125)
    assert sizes[:4] == [1, 2, 4, 8]  # on the way there no step is longer than twice the last
    assert sorted(set(sizes[4:])) == [1, 2, 8]  # two batches in ``ROUND`` see what is new
    assert sizes[4:].count(8) >= len(sizes[4:]) * (1 - 3 / ROUND)
    assert FILE_SECONDS == 8 * 0.125


def test_it_gets_less_for_as_long_as_somebody_has_been_waiting_live(
    pace: Pace, clock: Clock
) -> None:
    work(pace, fixed=0, each=0.125)
    pace.live_arrived()
    clock.advance(MEMORY_SECONDS - 0.1)
    assert pieces(pace) == 2 == CONTESTED_SECONDS / 0.125
    clock.advance(0.2)
    assert pieces(pace) == 8


def test_where_live_work_runs_elsewhere_nothing_is_bounded(clock: Clock) -> None:
    pace = Pace(clock, interruptible=False)
    pace.worked(1, PIECE, 2)
    pace.live_arrived()
    assert pace.file_cost == float("inf")


def test_a_batch_that_takes_long_whatever_is_in_it_is_worth_filling(pace: Pace) -> None:
    """As on a GPU: it takes a quarter longer than a single piece, and has three times as much."""
    pace.live_arrived()
    assert work(pace, fixed=0.875, each=0.125)[ROUND + 2] == 3 == (PATIENCE - 0.875) / 0.125


def test_a_piece_that_takes_long_for_itself_goes_alone(pace: Pace) -> None:
    """As on a CPU: another one would have live work wait twice as long."""
    pace.live_arrived()
    sizes = work(pace, fixed=0, each=0.3, batches=200)
    assert [turn for turn, size in enumerate(sizes) if size > 1] == [*range(ROUND, 200, ROUND)]


@pytest.mark.parametrize("slow", [1, 2, 3])
def test_a_beginning_that_was_slower_than_all_the_rest_is_forgotten(pace: Pace, slow: int) -> None:
    pace.live_arrived()
    work(pace, fixed=1, each=0.3, batches=slow)
    assert work(pace, fixed=0, each=0.3, batches=10)[5:] == [1] * 5


@patient
@given(
    st.lists(
        st.tuples(st.integers(1, 16), st.floats(0, 1e4), st.floats(0, 1e3)), min_size=1, max_size=80
    )
)
def test_no_step_is_longer_than_twice_what_was_measured(
    batches: list[tuple[int, float, float]],
) -> None:
    pace = Pace()
    for number, cost, seconds in batches:
        pace.worked(number, cost, seconds)
    assert 0 <= pace.file_cost <= 2 * max(cost for _, cost, _ in batches)
