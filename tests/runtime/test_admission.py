"""How many requests are taken on, and when the others are told to come back."""

from __future__ import annotations

import pytest

from reflector_gpu.errors import Overloaded
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.types import Priority
from tests.runtime.clock import Clock

LIVE, FILE = Priority.LIVE, Priority.FILE


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission({LIVE: 2, FILE: 1}, clock=clock)


def refusal(admission: Admission, priority: Priority) -> Overloaded:
    with pytest.raises(Overloaded) as found, admission.permit(priority):
        raise AssertionError("it was let in")
    return found.value


def test_as_many_as_the_limit_and_no_more(admission: Admission) -> None:
    with admission.permit(LIVE), admission.permit(LIVE):
        assert admission.taken(LIVE) == 2
        assert "working on 2" in refusal(admission, LIVE).message
        assert admission.taken(LIVE) == 2


def test_classes_are_counted_apart(admission: Admission) -> None:
    with admission.permit(LIVE), admission.permit(LIVE), admission.permit(FILE):
        assert refusal(admission, LIVE)
        assert refusal(admission, FILE)
    with admission.permit(FILE):
        assert admission.taken(LIVE) == 0


def test_a_place_is_free_again_however_the_request_ends(admission: Admission) -> None:
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), admission.permit(FILE):
            raise error
    assert admission.taken(FILE) == 0
    with admission.permit(FILE):
        pass


def test_before_anything_was_measured_a_guess_is_told(admission: Admission) -> None:
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == 5
    with admission.permit(LIVE), admission.permit(LIVE):
        assert refusal(admission, LIVE).retry_after == 2.5


def spend(admission: Admission, clock: Clock, priority: Priority, seconds: float) -> None:
    with admission.permit(priority):
        clock.now += seconds


def test_the_wait_follows_how_long_requests_take(admission: Admission, clock: Clock) -> None:
    spend(admission, clock, FILE, 105)  # 5 + (105 - 5) / 5
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == pytest.approx(25)
    for _ in range(100):
        spend(admission, clock, FILE, 60)
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == pytest.approx(60, rel=1e-6)


def test_with_more_places_one_is_free_sooner(admission: Admission, clock: Clock) -> None:
    for _ in range(100):
        spend(admission, clock, LIVE, 60)
    with admission.permit(LIVE), admission.permit(LIVE):
        assert refusal(admission, LIVE).retry_after == pytest.approx(30, rel=1e-6)


def test_nobody_is_told_to_come_back_at_once(admission: Admission, clock: Clock) -> None:
    for _ in range(100):
        spend(admission, clock, FILE, 0.001)
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == 1


def test_what_one_class_takes_says_nothing_of_the_other(admission: Admission, clock: Clock) -> None:
    spend(admission, clock, LIVE, 1_000)
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == 5
