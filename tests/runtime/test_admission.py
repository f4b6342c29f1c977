"""How many requests are taken on, and when the others are told to come back."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from reflector_gpu.errors import Overloaded, TooLarge
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.arrivals import STEADY_RATE
from reflector_gpu.runtime.limits import Limits
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority
from tests.runtime.clock import Clock

LIVE, FILE = Priority.LIVE, Priority.FILE


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission({LIVE: Limits(2), FILE: Limits(1)}, clock=clock)


def refusal(admission: Admission, priority: Priority, client: str = "") -> Overloaded:
    with pytest.raises(Overloaded) as found, admission.permit(priority, client):
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


def test_retry_after_is_a_guess_before_anything_was_measured(admission: Admission) -> None:
    with admission.permit(FILE):
        assert refusal(admission, FILE).retry_after == 5
    with admission.permit(LIVE), admission.permit(LIVE):
        assert refusal(admission, LIVE).retry_after == 2.5


def spend(admission: Admission, clock: Clock, priority: Priority, seconds: float) -> None:
    with admission.permit(priority):
        clock.advance(seconds)


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


# Keys


@pytest.fixture
def shared(clock: Clock) -> Admission:
    """Each key has two requests at once and ten minutes of audio an hour."""
    return Admission({LIVE: Limits(), FILE: Limits()}, Limits(2, 600), clock=clock)


def test_a_key_has_so_many_requests_at_once_whatever_they_are(shared: Admission) -> None:
    with shared.permit(LIVE, "a"), shared.permit(FILE, "a"):
        assert "2 of 2 requests" in refusal(shared, LIVE, "a").message
        with shared.permit(LIVE, "b"):
            """Another key has places of its own."""
    with shared.permit(LIVE, "a"):
        """And they are given back."""


def test_a_key_has_so_much_audio_an_hour(shared: Admission, clock: Clock) -> None:
    def send(seconds: float) -> None:
        with shared.permit(LIVE, "a") as permit, permit.recording() as recording:
            recording.done(seconds)

    send(400)
    clock.advance(1_200)
    send(500)
    refused = refusal(shared, LIVE, "a")
    assert "600 seconds of audio" in refused.message
    assert 2_400 - 60 <= refused.retry_after <= 2_400
    with shared.permit(LIVE, "b"):
        """Another key has an hour of its own."""
    clock.advance(refused.retry_after)
    send(1)


def test_a_key_pays_for_what_was_decoded_and_once_only(shared: Admission) -> None:
    with shared.permit(LIVE, "a") as permit, permit.recording() as recording:
        recording.decoded(500, plausible=1_000)
        recording.done(100)
        recording.decoded(700, plausible=1_000)
    assert shared._used["a"].seconds == 700
    assert "600 seconds of audio" in refusal(shared, LIVE, "a").message


def test_every_channel_that_is_worked_on_counts(shared: Admission) -> None:
    with shared.permit(LIVE, "a") as permit, permit.recording() as recording:
        recording.channels(3)
        recording.expect(300)
        recording.decoded(200, plausible=1_000)
        assert shared.backlog(LIVE) == recording.seconds == 900
        assert recording.undone == 600
        recording.done(100)
        assert shared.backlog(LIVE) == 600
    assert shared._used["a"].seconds == 600
    assert shared.backlog(LIVE) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"apikey": "one"},
        {"apikey": "one", "host": "0.0.0.0"},
        {"apikey": "one, two", "key_requests": 0, "key_hourly_audio_seconds": 0},
    ],
)
def test_the_only_client_may_take_everything(settings: dict[str, str]) -> None:
    admission = Admission.of(load_settings(**settings))
    assert admission._each_client == Limits()


@pytest.mark.parametrize(
    "settings",
    [
        {"apikey": "one, two"},
        {"apikey": "one", "trusted_networks": "172.18.0.0/16"},
        {"host": "0.0.0.0", "trusted_networks": "172.18.0.0/16"},
        {"trusted_networks": "172.18.0.0/16", "trusted_proxies": "127.0.0.1"},
        {"host": "0.0.0.0", "insecure": True},
        {"insecure": True, "trusted_proxies": "127.0.0.1"},
    ],
)
def test_of_several_clients_none_may_take_everything(settings: dict[str, str]) -> None:
    admission = Admission.of(load_settings(live_requests=10, file_requests=8, **settings))
    assert admission._each_client == Limits(9, 360_000)


def test_each_client_may_have_an_upload_and_a_url_however_few_places_there_are() -> None:
    admission = Admission.of(load_settings(live_requests=1, file_requests=1, apikey="a,b"))
    assert admission._each_client.requests == 2


def test_limits_of_the_operator_hold_for_the_only_client_too() -> None:
    given = {"key_requests": 3, "key_hourly_audio_seconds": 60}
    assert Admission.of(load_settings(**given))._each_client == Limits(3, 60)
    assert Admission.of(load_settings(apikey="a,b", **given))._each_client == Limits(3, 60)


def test_clients_that_come_no_more_are_forgotten(shared: Admission, clock: Clock) -> None:
    """A network has more addresses than anybody has memory."""

    def ask(client: str) -> None:
        with shared.permit(LIVE, client) as permit, permit.recording() as recording:
            recording.done(1)

    for number in range(1_500):
        ask(f"old {number}")
    with shared.permit(LIVE, "busy"):
        clock.advance(3_700)
        for number in range(2_500):
            ask(f"new {number}")
            shared.check(LIVE, f"session {number}")
        assert len(shared._in_work) == len(shared._used) < 4_000
        with shared.permit(LIVE, "busy"):
            assert "2 of 2" in refusal(shared, LIVE, "busy").message
    assert shared._used["new 7"].seconds == 1


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
