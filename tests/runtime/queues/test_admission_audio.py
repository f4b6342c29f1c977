"""How much audio may wait, and what is not counted because its size does not bear it out."""

from __future__ import annotations

import pytest

from reflector_gpu.errors import Overloaded, TooLarge
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.limits import Limits
from tests.runtime.admission import FILE, LIVE, refusal, spend
from tests.runtime.clock import Clock

# Seconds of audio


@pytest.fixture
def narrow(clock: Clock) -> Admission:
    """A minute of audio may wait."""
    return Admission({LIVE: Limits(9, 60), FILE: Limits(9, 60)}, clock=clock)


def test_a_recording_of_any_length_is_taken_on_but_none_on_top_of_it(narrow: Admission) -> None:
    with narrow.permit(FILE) as permit, permit.recording() as recording:
        with narrow.permit(FILE):
            """Nobody knows yet how long the first one is."""
        recording.expect(7_200)
        assert narrow.backlog(FILE) == 7_200
        assert "7200 seconds" in refusal(narrow, FILE).message
        with narrow.permit(LIVE):
            """Live work is counted apart."""
        recording.done(7_141)
        with narrow.permit(FILE):
            """59 seconds are left of it."""
    assert narrow.backlog(FILE) == 0


def test_a_recording_longer_than_its_header_said_is_no_debt(narrow: Admission) -> None:
    with narrow.permit(FILE) as permit, permit.recording() as recording:
        recording.expect(10)
        recording.done(500)
        assert narrow.backlog(FILE) == 0


def test_several_files_of_a_request_add_up_until_each_is_done(narrow: Admission) -> None:
    with narrow.permit(LIVE) as permit:
        with permit.recording() as first, permit.recording() as second:
            first.expect(50)
            second.expect(50)
            assert refusal(narrow, LIVE)
        with narrow.permit(LIVE):
            """Both are closed."""


def test_the_wait_is_what_the_excess_takes_at_the_measured_rate(
    narrow: Admission, clock: Clock
) -> None:
    with narrow.permit(FILE) as permit, permit.recording() as recording:
        recording.expect(1_000)
        for second in range(1, 21):
            clock.advance(1)
            recording.done(20 * second)  # 20 times as fast as it was spoken
        assert narrow.backlog(FILE) == 600
        wait = refusal(narrow, FILE).retry_after
        assert wait == pytest.approx((600 - 60) / 20)
        clock.advance(wait)
        recording.done(940)
        with narrow.permit(FILE):
            """And so it is: then there is a place."""


def test_the_measured_rate_is_that_of_the_last_minutes(narrow: Admission, clock: Clock) -> None:
    with narrow.permit(FILE) as permit, permit.recording() as recording:
        recording.expect(14_000)
        for second in range(1, 601):
            clock.advance(1)
            recording.done(20 * second)
        for second in range(1, 601):
            clock.advance(1)
            recording.done(12_000 + second)  # something else has taken the machine
        excess = 14_000 - 12_600 - 60
        assert refusal(narrow, FILE).retry_after == pytest.approx(excess, rel=0.01)


def test_time_without_work_does_not_slow_the_measured_rate(narrow: Admission, clock: Clock) -> None:
    for _ in range(2):
        with narrow.permit(FILE) as permit, permit.recording() as recording:
            recording.expect(1_000)
            clock.advance(10)
            recording.done(100)
            wait = refusal(narrow, FILE).retry_after
            assert wait == pytest.approx((900 - 60) / 10)
        clock.advance(100_000)


def test_retry_after_is_at_most_an_hour(narrow: Admission, clock: Clock) -> None:
    with narrow.permit(FILE) as permit, permit.recording() as recording:
        recording.expect(1e9)
        clock.advance(100)
        recording.done(1)
        assert refusal(narrow, FILE).retry_after == 3_600


# Audio that is longer than its size tells


@pytest.fixture
def thin(clock: Clock) -> Admission:
    """A minute of such audio may wait, a quarter of all."""
    return Admission({LIVE: Limits(9, 240), FILE: Limits(9, 240)}, clock=clock)


def test_implausible_audio_is_not_counted_against_others(thin: Admission) -> None:
    with thin.permit(FILE) as permit, permit.recording() as recording:
        recording.expect(7_200)
        recording.decoded(1, plausible=36)
        assert thin.backlog(FILE) == 36
        recording.decoded(50, plausible=36)
        assert thin.backlog(FILE) == 36
        with thin.permit(FILE):
            """There is a place."""
        assert recording.seconds == 7_200


def test_a_recording_whose_bytes_arrive_becomes_plausible(thin: Admission) -> None:
    with thin.permit(FILE) as permit, permit.recording() as recording:
        recording.expect(7_200)
        recording.decoded(1, plausible=36)
        recording.decoded(500, plausible=7_000)
        assert thin.backlog(FILE) == 7_000
        assert "7000 seconds" in refusal(thin, FILE).message


def test_implausible_audio_fails_once_it_is_more_than_may_wait(thin: Admission) -> None:
    with thin.permit(FILE) as permit, permit.recording() as recording:
        recording.decoded(60, plausible=36)
        with pytest.raises(TooLarge, match="longer than its size"):
            recording.decoded(61, plausible=36)
        recording.done(30)
        recording.decoded(90, plausible=36)  # only what waits counts


def test_plausible_audio_never_fails(thin: Admission) -> None:
    with thin.permit(FILE) as permit, permit.recording() as recording:
        recording.decoded(7_200, plausible=7_200)


def test_implausible_recordings_share_what_may_wait(thin: Admission, clock: Clock) -> None:
    for _ in range(100):
        spend(thin, clock, FILE, 20)
    with thin.permit(FILE) as one, one.recording() as first:
        first.decoded(40, plausible=1)
        with thin.permit(FILE) as another, another.recording() as second:
            second.decoded(20, plausible=1)
            with pytest.raises(Overloaded, match="with that of other requests") as refused:
                second.decoded(21, plausible=1)
            assert refused.value.retry_after == pytest.approx(20, rel=1e-6)
        with thin.permit(LIVE) as live, live.recording() as third:
            third.decoded(60, plausible=1)  # classes are counted apart
        with thin.permit(FILE) as another, another.recording() as fourth:
            fourth.decoded(20, plausible=1)  # the second one is gone
