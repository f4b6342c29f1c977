"""What is handed out next: order, batches, fair shares, and nothing lost."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.errors import ShuttingDown
from reflector_gpu.runtime.pace import CONTESTED_SECONDS, FILE_SECONDS, MEMORY_SECONDS, Pace
from reflector_gpu.runtime.queue import WEIGHTS, BatchQueue, Job
from reflector_gpu.types import Priority
from tests.runtime.clock import Clock
from tests.waiting import PATIENCE_SECONDS

LIVE, FILE = Priority.LIVE, Priority.FILE

Queue = BatchQueue[str, str]
TextJob = Job[str, str]


def job(item: str = "", group: str = "", cost: float = 1.0, priority: Priority = FILE) -> TextJob:
    return Job(item, group, cost, priority)


def filled(jobs: Iterable[TextJob], max_batch: int = 1, max_cost: float = 1e9) -> Queue:
    queue = Queue(max_batch=max_batch, max_cost=max_cost)
    for each in jobs:
        queue.put(each)
    return queue


def take(queue: Queue) -> str:
    """The items of the next batch, one letter each."""
    batch = queue.take()
    assert batch
    return "".join(job.item for job in batch)


def take_all(queue: Queue) -> list[str]:
    queue.close()
    found = []
    while (batch := queue.take()) is not None:
        found.append("".join(job.item for job in batch))
    return found


def test_first_come_first_served() -> None:
    assert take_all(filled(job(item) for item in "abcde")) == list("abcde")


@pytest.mark.parametrize(
    ("max_batch", "batches"), [(1, "a b c d e"), (2, "ab cd e"), (5, "abcde"), (9, "abcde")]
)
def test_a_batch_is_what_waits_up_to_its_size(max_batch: int, batches: str) -> None:
    assert take_all(filled((job(item) for item in "abcde"), max_batch)) == batches.split()


def test_groups_never_mix_and_nobody_is_passed_over_twice() -> None:
    """``b`` and ``d`` are of another group; they are next once ``a`` and its like are gone."""
    jobs = [job(item, group) for item, group in zip("abcde", "xyxyx", strict=True)]
    assert take_all(filled(jobs, max_batch=2)) == ["ac", "bd", "e"]


@pytest.mark.parametrize(
    ("costs", "batches"),
    [
        ([3, 3, 3, 3], "ab cd"),  # two of 3 make 6, a third would make 9
        ([1, 1, 1, 1], "abcd"),
        ([1, 1, 6, 1], "abd c"),  # padded to 6, three would cost 18
        ([6, 1, 1, 1], "a bcd"),
        ([9, 9, 1, 1], "a b cd"),  # too dear for any batch: alone
        ([2, 2, 2, 2], "abc d"),
    ],
)
def test_a_batch_costs_its_size_times_its_dearest(costs: list[float], batches: str) -> None:
    jobs = [job(item, cost=cost) for item, cost in zip("abcd", costs, strict=True)]
    assert take_all(filled(jobs, max_batch=9, max_cost=6)) == batches.split()


def test_live_overtakes_files() -> None:
    queue = filled(job(item) for item in "abc")
    queue.put(job("L", priority=LIVE))
    queue.put(job("M", priority=LIVE))
    assert take_all(queue) == ["L", "a", "M", "b", "c"]


def test_a_batch_of_a_file_is_filled_up_with_live_work_and_not_the_other_way_round() -> None:
    queue = filled((job(item) for item in "ab"), max_batch=3)
    queue.put(job("L", priority=LIVE))
    assert take(queue) == "L"
    for _ in range(2):
        queue.put(job("L", priority=LIVE))
    assert take(queue) == "abL"


def test_live_work_that_was_given_up_leaves_the_batch_to_files() -> None:
    queue = filled((job(item) for item in "ab"), max_batch=3)
    live = job("L", priority=LIVE)
    queue.put(live)
    live.abandon()
    assert take(queue) == "ab"


def paced(jobs: Iterable[TextJob], clock: Clock) -> Queue:
    """A queue whose workers get 10 done in a second."""
    pace = Pace(clock)
    for _ in range(2):
        pace.worked(pieces=1, cost=1, seconds=0.1)
    pace.worked(pieces=9, cost=9, seconds=0.9)
    queue = Queue(max_batch=9, pace=pace)
    for each in jobs:
        queue.put(each)
    return queue


def test_files_go_in_short_batches_and_shorter_ones_while_others_wait_live() -> None:
    clock = Clock()
    queue = paced((job(item) for item in "abcdefghijklmnopqrst"), clock)
    assert take(queue) == "abcdefghi"  # at most 9 together; a second would hold 10
    assert 10 * FILE_SECONDS == 10
    for _ in range(2):
        queue.put(job("L", cost=5, priority=LIVE))
        assert take(queue) == "L"  # padded to it, not even one piece of the file would fit
    assert 2 <= 10 * CONTESTED_SECONDS < 3
    assert take(queue) == "jk"
    clock.advance(MEMORY_SECONDS)
    assert take(queue) == "lmnopqrst"


def test_live_work_that_joins_a_file_keeps_its_batch_short() -> None:
    queue = paced((job(item) for item in "ab"), Clock())
    queue.put(job("L", priority=LIVE))
    assert take(queue) == "L"
    queue.put(job("L", priority=LIVE))
    assert take(queue) == "ab"  # a third piece would take longer than a contested batch may


def test_live_work_goes_in_batches_of_any_length() -> None:
    assert take(paced((job(item, cost=30, priority=LIVE) for item in "abc"), Clock())) == "abc"


def test_a_piece_of_a_file_that_is_too_long_for_any_batch_goes_alone() -> None:
    assert take(paced((job(item, cost=300) for item in "abc"), Clock())) == "a"


def contested(live_cost: float = 1, file_cost: float = 1) -> Queue:
    """Both classes have work, and more than one piece of it."""
    live = [job("L", "l", live_cost, LIVE) for _ in range(2)]
    return filled([*live, *(job("f", "f", file_cost, FILE) for _ in range(2))])


def shares(queue: Queue, takes: int) -> Counter[Priority]:
    """Cost served per class while both always have work."""
    served: Counter[Priority] = Counter()
    for _ in range(takes):
        batch = queue.take()
        assert batch
        for each in batch:
            served[each.priority] += int(each.cost)
            queue.put(job(each.item, each.item, each.cost, each.priority))
    return served


@pytest.mark.parametrize(("live_cost", "file_cost"), [(1, 1), (1, 20), (5, 3), (20, 1)])
def test_busy_classes_share_by_weight(live_cost: float, file_cost: float) -> None:
    served = shares(contested(live_cost, file_cost), 4_000)
    ratio = served[LIVE] / served[FILE]
    assert ratio == pytest.approx(WEIGHTS[LIVE] / WEIGHTS[FILE], rel=0.02)


def test_equal_costs_are_shared_exactly() -> None:
    assert shares(contested(), 90) == {LIVE: 80, FILE: 10}


def test_files_get_their_share_within_a_bounded_time() -> None:
    queue = contested()
    waited = longest = 0
    for _ in range(200):
        item = take(queue)
        waited = 0 if item == "f" else waited + 1
        longest = max(longest, waited)
        queue.put(job("f", "f") if item == "f" else job("L", "l", priority=LIVE))
    assert longest <= 8


@pytest.mark.parametrize("busy", [LIVE, FILE])
@pytest.mark.parametrize("queued", [1, 3], ids=["one at a time", "a backlog"])
def test_idleness_earns_no_credit(busy: Priority, queued: int) -> None:
    """One class has long had the workers to itself when the other comes."""
    idle = FILE if busy is LIVE else LIVE
    queue = filled(job("b", "b", 1, busy) for _ in range(queued))
    for _ in range(1_000):
        assert take(queue) == "b"
        queue.put(job("b", "b", 1, busy))
    if queued == 1:
        take(queue)  # all of it is being worked on, nothing waits
    for _ in range(40):
        queue.put(job("i", "i", 1, idle))
    for _ in range(40):
        queue.put(job("b", "b", 1, busy))
    order = "".join(take(queue) for _ in range(36))
    share = WEIGHTS[busy] / sum(WEIGHTS.values())
    assert order.count("b") == pytest.approx(36 * share, abs=9)
    assert "b" in order[:18]
    assert "i" in order[:18]


def test_what_was_given_up_is_not_handed_out() -> None:
    jobs = [job(item) for item in "abcd"]
    queue = filled(jobs, max_batch=2)
    jobs[0].abandon()
    jobs[2].future.cancel()
    assert take_all(queue) == ["bd"]
    assert jobs[0].abandoned


def test_what_was_given_up_costs_its_class_nothing() -> None:
    dropped = [job("x", cost=1e6, priority=LIVE) for _ in range(5)]
    queue = filled([*dropped, job("L", priority=LIVE), job("f")])
    for each in dropped:
        each.abandon()
    assert take_all(queue) == ["L", "f"]


def test_what_is_handed_out_runs() -> None:
    queue = filled([job("a")])
    batch = queue.take()
    assert batch
    assert batch[0].future.running()
    batch[0].abandon()
    assert batch[0].abandoned
    assert not batch[0].future.cancelled()


def test_length_and_cost_of_what_waits() -> None:
    queue = filled([job("a", cost=2), job("b", cost=3, priority=LIVE)])
    assert len(queue) == 2
    take(queue)
    assert len(queue) == 1


def test_closing_hands_out_the_rest_and_takes_nothing_more() -> None:
    queue = filled([job("a"), job("b")])
    queue.close()
    with pytest.raises(ShuttingDown):
        queue.put(job("c"))
    assert take_all(queue) == ["a", "b"]
    assert queue.take() is None


def test_draining_leaves_nothing_and_runs_nothing() -> None:
    queue = filled([job("a"), job("b", priority=LIVE)])
    drained = queue.drain()
    assert {each.item for each in drained} == {"a", "b"}
    assert not any(each.future.running() for each in drained)
    assert len(queue) == 0
    assert queue.drain() == []


def test_takers_wait_for_work_and_for_the_end() -> None:
    queue = filled([])
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(queue.take) for _ in range(3)]
        queue.put(job("a"))
        queue.put(job("b"))
        queue.close()
        found = [each.result(PATIENCE_SECONDS) for each in waiting]
    assert sorted(batch[0].item if batch else "" for batch in found) == ["", "a", "b"]


def test_nothing_is_handed_out_when_nobody_has_come_for_a_while() -> None:
    clock = Clock()
    queue = Queue(max_batch=1, clock=clock)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.take, 0.01)
        clock.advance(0.02)
        assert waiting.result(PATIENCE_SECONDS) == []


def test_nothing_is_handed_out_to_who_can_not_work_any_more() -> None:
    queue = filled([job("a")])
    assert queue.take(unless=lambda: True) == []
    assert take(queue) == "a"
    failing = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.take, unless=failing.is_set)
        failing.set()
        assert waiting.result(PATIENCE_SECONDS) == []


def test_waiting_for_work_leaves_it_there() -> None:
    queue = filled([])
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(queue.wait) for _ in range(2)]
        queue.put(job("a"))
        assert [each.result(PATIENCE_SECONDS) for each in waiting] == [True, True]
        assert take(queue) == "a"
        waiting = [pool.submit(queue.wait) for _ in range(2)]
        queue.close()
        assert [each.result(PATIENCE_SECONDS) for each in waiting] == [False, False]


JOBS = st.builds(
    job,
    st.sampled_from("abcdefgh"),
    st.sampled_from("xyz"),
    st.sampled_from([0.0, 0.5, 1.0, 7.0, 30.0]),
    st.sampled_from(Priority),
)
STEPS = st.lists(JOBS | st.sampled_from(["take", "cancel"]), max_size=60)


@settings(max_examples=60)
@given(STEPS, st.integers(1, 5), st.sampled_from([1.0, 10.0, 1e9]), st.randoms())
def test_no_job_is_lost_or_doubled_and_every_batch_is_sound(
    steps: list[TextJob | str], max_batch: int, max_cost: float, dice: random.Random
) -> None:
    queue = Queue(max_batch=max_batch, max_cost=max_cost)
    waiting: list[TextJob] = []
    taken: list[TextJob] = []

    def check(batch: list[TextJob]) -> None:
        assert 1 <= len(batch) <= max_batch
        assert len({each.group for each in batch}) == 1
        assert len(batch) == 1 or max(each.cost for each in batch) * len(batch) <= max_cost
        heads = [next((j for j in waiting if j.priority is p), None) for p in Priority]
        assert batch[0] in heads  # nobody is passed over for ever
        for each in batch:
            assert each.future.running()
            waiting.remove(each)
            taken.append(each)

    for step in steps:
        if isinstance(step, Job):
            queue.put(step)
            waiting.append(step)
        elif step == "cancel" and waiting:
            waiting.pop(dice.randrange(len(waiting))).abandon()
        elif step == "take" and waiting:
            batch = queue.take()
            assert batch
            check(batch)
    queue.close()
    while (batch := queue.take()) is not None:
        check(batch)
    assert waiting == []
    assert len(set(map(id, taken))) == len(taken)


@settings(max_examples=60)
@given(STEPS)
def test_within_a_group_and_class_order_is_kept(steps: list[TextJob | str]) -> None:
    jobs = [step for step in steps if isinstance(step, Job)]
    queue = filled(jobs, max_batch=3)
    queue.close()
    found: list[TextJob] = []
    while (batch := queue.take()) is not None:
        found += batch
    for group in "xyz":
        for priority in Priority:
            same = [j for j in jobs if (j.group, j.priority) == (group, priority)]
            assert [j for j in found if j in same] == same


def test_a_job_learns_how_long_it_waited_for_a_worker() -> None:
    clock = Clock()
    queue = Queue(max_batch=2, clock=clock)
    waited: dict[str, float] = {}
    for item in "abc":
        queue.put(replace(job(item), waited=partial(waited.__setitem__, item)))
        clock.advance(1)
    assert waited == {}
    assert take(queue) == "ab"
    assert waited == {"a": 3, "b": 2}
    clock.advance(4)
    assert take(queue) == "c"
    assert waited["c"] == 5
