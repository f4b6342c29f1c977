"""How much of a long file may go into one batch, as the workers' speed and live work have it."""

from __future__ import annotations

import random
import statistics
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.runtime.pace import (
    CONTESTED_SECONDS,
    FILE_SECONDS,
    MEMORY_SECONDS,
    PATIENCE,
    PROBE_EVERY,
    Pace,
)
from tests.runtime.clock import Clock

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


def contest(pace: Pace) -> None:
    """Live requests keep coming in."""
    pace.live_arrived()
    pace.live_arrived()


def usual(sizes: list[int]) -> int:
    """What all of them are but one of each ``PROBE_EVERY``, which measures the other kind."""
    ((size, times),) = Counter(sizes).most_common(1)
    assert times >= len(sizes) - -(-len(sizes) // PROBE_EVERY), sizes
    return size


def test_the_first_batches_are_single_pieces(pace: Pace) -> None:
    assert pace.file_cost == 0
    pace.worked(1, PIECE, 0.001)
    assert pace.file_cost == 0


def test_a_file_gets_a_second_of_work_at_a_time(pace: Pace) -> None:
    sizes = work(pace, fixed=0, each=0.125)
    assert sizes[:5] == [1, 1, 2, 4, 8]  # on the way no step is longer than twice the last
    assert usual(sizes[4:]) * 0.125 == FILE_SECONDS
    assert 1 in sizes[4:]


def test_it_gets_less_for_as_long_as_somebody_has_been_waiting_live(
    pace: Pace, clock: Clock
) -> None:
    work(pace, fixed=0, each=0.125)
    contest(pace)
    clock.advance(MEMORY_SECONDS - 0.1)
    assert pieces(pace) == 2 == CONTESTED_SECONDS / 0.125
    clock.advance(0.2)
    assert pieces(pace) == 8


def test_where_live_work_runs_elsewhere_nothing_is_bounded(clock: Clock) -> None:
    pace = Pace(clock, interruptible=False)
    pace.worked(1, PIECE, 2)
    contest(pace)
    assert pace.file_cost == float("inf")


def test_a_batch_that_takes_long_whatever_is_in_it_is_worth_filling(pace: Pace) -> None:
    """As on a GPU: it takes half as long again as a single piece, and has five times as much."""
    contest(pace)
    sizes = work(pace, fixed=0.875, each=0.125)
    assert usual(sizes[PROBE_EVERY:]) == 5 == (PATIENCE - 0.875) / 0.125


def test_a_piece_that_takes_long_for_itself_goes_alone(pace: Pace) -> None:
    """As on a CPU: another one would have live work wait twice as long."""
    sizes = work(pace, fixed=0, each=0.7, batches=6 * PROBE_EVERY)
    assert usual(sizes) == 1
    assert sizes.count(2) == 6


def test_while_live_requests_keep_coming_two_such_pieces_are_tried_once(pace: Pace) -> None:
    contest(pace)
    sizes = work(pace, fixed=0, each=0.3, batches=6 * PROBE_EVERY)
    assert sizes.count(2) == 1
    assert sizes.count(1) == len(sizes) - 1


def test_one_live_request_alone_may_be_the_file_itself(pace: Pace, clock: Clock) -> None:
    found: list[bool] = []
    for seconds in (MEMORY_SECONDS - 0.1, MEMORY_SECONDS + 0.1, 0):
        pace.live_arrived()
        found.append(pace.contested)
        clock.advance(seconds)
        found.append(pace.contested)
    assert found == [False, False, True, False, False, False]


@pytest.mark.parametrize("times", [0.2, 5])
@pytest.mark.parametrize("odd", [1, 2])
def test_a_beginning_of_another_speed_is_soon_forgotten(pace: Pace, odd: int, times: float) -> None:
    contest(pace)
    work(pace, fixed=0, each=0.3 * times, batches=odd)
    assert usual(work(pace, fixed=0, each=0.3, batches=2 * PROBE_EVERY)[5:]) == 1


@pytest.mark.parametrize("each", [0.01, 0.1, 0.3])
def test_batches_of_unequal_pieces_at_uneven_speed_are_seldom_long(pace: Pace, each: float) -> None:
    dice = random.Random(0)
    contest(pace)
    took: list[float] = []
    for _ in range(10 * PROBE_EVERY):
        limit, batch = pace.file_cost, [dice.uniform(3, PIECE)]
        while len(batch) < MAX_BATCH:
            another = dice.uniform(3, PIECE)
            if (len(batch) + 1) * max(*batch, another) > limit:
                break
            batch.append(another)
        padded = len(batch) * max(batch)
        took.append(each * padded / PIECE * dice.uniform(0.8, 1.2))
        pace.worked(len(batch), padded, took[-1])
    allowed = max(CONTESTED_SECONDS, PATIENCE * each) * 1.2
    assert sum(seconds > allowed for seconds in took) < 0.1 * len(took)
    assert statistics.median(took) > 0.5 * min(CONTESTED_SECONDS, MAX_BATCH * each / 2)


def test_many_threads_use_it_at_once(pace: Pace) -> None:
    def tell() -> None:
        for number in range(1, 60_000):
            pieces = 1 + number % 2
            pace.worked(pieces, pieces * PIECE, number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as threads:
            telling = [threads.submit(tell) for _ in range(2)]
            while not all(each.done() for each in telling):
                assert pace.file_cost >= 0
            for each in telling:
                each.result()
    finally:
        sys.setswitchinterval(interval)


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
