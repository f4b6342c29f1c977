"""Who may open realtime sessions, how many there may be, and when they end."""

from __future__ import annotations

import json
import logging

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from reflector_gpu.types import Samples
from tests.api.realtime.client import (
    DELTA,
    SIXTEEN,
    Client,
    silence,
)
from tests.api.support import Gate, eventually, running
from tests.live import KEY, LiveServer

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"

ADDED, DONE = "conversation.item.added", "conversation.item.done"


@pytest.fixture
def client(scripted: LiveServer) -> Client:
    return Client(scripted, format=SIXTEEN)


def test_keys_are_the_same_as_everywhere(
    scripted: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflector_gpu.access")
    with pytest.raises(InvalidStatus) as refused:
        Client(scripted, key="wrong")
    eventually(lambda: any("invalid_api_key" in line for line in caplog.messages))
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == "invalid_api_key"


def test_a_browser_sends_its_key_as_a_subprotocol(scripted: LiveServer) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{KEY}"]
    with Client(scripted, key=None, subprotocols=offered) as client:
        assert client.socket.subprotocol == "realtime"
        assert client.next()["type"] == "session.created"


def test_a_browser_with_a_wrong_key_is_told_so(scripted: LiveServer) -> None:
    offered = ["realtime", "openai-insecure-api-key.wrong"]
    with Client(scripted, key=None, subprotocols=offered) as client:
        assert client.next()["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed) as closed:
            client.next()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1008


def test_only_sessions_that_speak_hold_a_place(small: LiveServer, snippets: list[Samples]) -> None:
    with Client(small, format=SIXTEEN) as idle, Client(small, format=SIXTEEN) as other:
        idle.speak(silence(1))
        idle.update()  # so the server has heard it
        eventually(lambda: running(small, "live") == 0)
        other.speak(snippets[0])
        eventually(lambda: running(small, "live") == 1)
        with pytest.raises(InvalidStatus) as refused:
            Client(small)
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        idle.speak(snippets[1])  # it waits for the other's place
        other.speak(silence(1))
        other.completed()
        idle.speak(silence(1))
        assert idle.completed()["transcript"]
        eventually(lambda: running(small, "live") == 0)


def test_a_server_that_falls_behind_refuses_sessions(snippets: list[Samples]) -> None:
    with LiveServer(model="scripted", apikey=KEY, live_step_seconds=1e-6) as server:
        with Client(server, format=SIXTEEN, turn_detection=None) as speaking:
            speaking.speak(snippets[0])
            speaking.speak(silence(1))
            speaking.wait_for(DELTA)  # by now it is known how long a pass takes
            with pytest.raises(InvalidStatus) as refused:
                Client(server)
            speaking.send("input_audio_buffer.commit")
            assert speaking.completed()["transcript"]  # nobody is thrown out
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        with Client(server):
            pass


def test_a_client_that_vanishes_frees_its_place(
    scripted: LiveServer, gate: Gate, snippets: list[Samples]
) -> None:
    gate.free = 0
    client = Client(scripted, format=SIXTEEN)
    client.speak(snippets[0])
    client.speak(silence(1))
    client.wait_for(DONE)
    eventually(lambda: gate.arrived and running(scripted, "live"))
    client.socket.socket.close()
    eventually(lambda: not running(scripted, "live"))
    assert gate.cancelled == 1


def test_sessions_end_politely_when_the_server_stops(snippets: list[Samples]) -> None:
    with LiveServer(model="scripted", apikey=KEY) as server:
        client = Client(server, format=SIXTEEN)
        client.speak(snippets[0])
        client.wait_for(STARTED)
    assert client.completed()["transcript"]  # of what was said by then
    with pytest.raises(ConnectionClosed) as closed:
        client.next()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1001


def test_a_session_that_has_lasted_long_enough_ends(snippets: list[Samples]) -> None:
    with (
        LiveServer(model="scripted", apikey=KEY, request_seconds=0.5) as server,
        Client(server, format=SIXTEEN) as client,
    ):
        while (event := client.next())["type"] != "error":
            pass
        assert event["error"]["code"] == "session_expired"
        with pytest.raises(ConnectionClosed) as closed:
            client.next()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1001
