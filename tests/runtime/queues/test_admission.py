"""How many requests are taken on, and when the others are told to come back."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.arrivals import STEADY_RATE
from reflector_gpu.runtime.limits import Limits
from tests.runtime.admission import FILE, LIVE, refusal, spend
from tests.runtime.clock import Clock


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


def test_retry_after_is_a_guess_before_anything_was_measured(admission: Admission) -> None:
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == 5
    with admission.permit(LIVE), admission.permit(LIVE):
        assert refusal(admission, LIVE).retry_after == 2.5


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


def test_retry_after_is_at_least_a_second(admission: Admission, clock: Clock) -> None:
    for _ in range(100):
        spend(admission, clock, FILE, 0.001)
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == 1


def test_the_classes_are_counted_apart(admission: Admission, clock: Clock) -> None:
    spend(admission, clock, LIVE, 1_000)
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == 5


class Sender:
    """One who sends, and may be told to leave."""

    def __init__(self) -> None:
        self.sent = 0.0
        self.told = 0

    def received(self) -> float:
        return self.sent

    def leave(self) -> None:
        self.told += 1


def test_a_slow_sender_gives_its_place_to_a_request_that_needs_it(
    admission: Admission, clock: Clock
) -> None:
    slow, slower, steady = Sender(), Sender(), Sender()
    with ExitStack() as held:
        for sender, kind in ((slow, LIVE), (slower, LIVE), (steady, FILE)):
            permit = held.enter_context(admission.permit(kind))
            held.enter_context(permit.arriving(sender.received, sender.leave))
        clock.advance(100)
        slow.sent, slower.sent, steady.sent = 100 * STEADY_RATE - 1, 1_000, 100 * STEADY_RATE
        assert refusal(admission, FILE)
        for told in ((0, 1), (1, 1)):
            held.enter_context(admission.permit(LIVE))
            assert (slow.told, slower.told) == told
            assert admission.taken(LIVE) == 2
        assert refusal(admission, LIVE)
    assert admission.taken(LIVE) == 0
    assert (slow.told, slower.told, steady.told) == (1, 1, 0)


def test_nobody_is_slow_in_the_beginning_or_once_all_is_there(
    admission: Admission, clock: Clock
) -> None:
    sender = Sender()
    with admission.permit(FILE) as permit:
        with permit.arriving(sender.received, sender.leave):
            clock.advance(5)
            assert refusal(admission, FILE)
        clock.advance(1_000)
        assert refusal(admission, FILE)
    assert not sender.told


def test_a_place_stays_with_its_holder_while_there_is_another(
    admission: Admission, clock: Clock
) -> None:
    sender = Sender()
    with admission.permit(LIVE) as permit, permit.arriving(sender.received, sender.leave):
        clock.advance(1_000)
        with admission.permit(LIVE):
            assert admission.taken(LIVE) == 2
    assert not sender.told


def test_a_request_that_is_refused_anyway_takes_no_place(clock: Clock) -> None:
    admission = Admission({LIVE: Limits(1), FILE: Limits(1)}, Limits(requests=1), clock=clock)
    sender = Sender()
    with (
        admission.permit(LIVE, "a") as permit,
        permit.arriving(sender.received, sender.leave),
        admission.permit(FILE, "b"),
    ):
        clock.advance(1_000)
        assert "This client" in refusal(admission, LIVE, "b").message
    assert not sender.told
