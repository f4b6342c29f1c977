"""What each key may take of a server that several share."""

from __future__ import annotations

import pytest

from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.limits import Limits
from reflector_gpu.settings import load_settings
from tests.runtime.admission import FILE, LIVE, refusal
from tests.runtime.clock import Clock


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
