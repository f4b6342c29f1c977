"""Realtime sessions: what a client sends and receives over a WebSocket."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reflector_gpu.errors import EngineNotLoaded
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.realtime.client import (
    COMPLETED,
    DELTA,
    FAILED,
    SEGMENT,
    SIXTEEN,
    Client,
    silence,
)
from tests.api.support import Gate, eventually
from tests.engines import endpointers
from tests.live import KEY, LiveServer

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"

COMMITTED = "input_audio_buffer.committed"

ADDED, DONE = "conversation.item.added", "conversation.item.done"


@pytest.fixture
def client(scripted: LiveServer) -> Client:
    return Client(scripted, format=SIXTEEN)


@pytest.fixture
def manual(scripted: LiveServer) -> Client:
    """A client that ends its turns itself."""
    return Client(scripted, format=SIXTEEN, turn_detection=None)


def test_a_session_begins_with_everything_that_is_in_effect(scripted: LiveServer) -> None:
    with Client(scripted) as client:
        created = client.next()
    assert created["type"] == "session.created"
    session = created["session"]
    assert session.pop("id").startswith("sess_")
    assert isinstance(session.pop("expires_at"), int)
    nothing = dict.fromkeys(("model", "language", "languages", "keywords", "prompt", "delay"))
    assert session == {
        "object": "realtime.transcription_session",
        "type": "transcription",
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": nothing,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        },
    }


def test_words_are_told_while_somebody_still_speaks(
    manual: Client, snippets: list[Samples]
) -> None:
    with manual:
        manual.speak(snippets[0])
        manual.speak(silence(1))
        early = manual.wait_for(DELTA)["delta"]
        manual.speak(snippets[1])
        manual.send("input_audio_buffer.commit")
        completed = manual.completed()
    deltas = [event["delta"] for event in manual.received if event["type"] == DELTA]
    assert early
    assert "".join(deltas) == completed["transcript"]
    assert len(deltas) > 1
    assert manual.types().index(DELTA) < manual.types().index(COMMITTED)


def test_a_spoken_turn_is_found_and_transcribed(client: Client, snippets: list[Samples]) -> None:
    """All of it comes at once: else its first words could be told before it ends."""
    said = np.concatenate([silence(1), snippets[0], silence(1)])
    with client:
        client.speak(said, piece=len(said))
        completed = client.completed()
    events = {event["type"]: event for event in client.received}
    order = [STARTED, STOPPED, COMMITTED, ADDED, DONE, DELTA, SEGMENT, COMPLETED]
    assert [name for name in client.types() if name in order] == order
    item = events[STARTED]["item_id"]
    assert {events[name].get("item_id", item) for name in order} == {item}
    begin, end = events[STARTED]["audio_start_ms"], events[STOPPED]["audio_end_ms"]
    assert 600 <= begin < 1500  # with the audio before the speech
    assert end - begin == pytest.approx(1000 * completed["usage"]["seconds"], abs=1)
    assert events[COMMITTED]["previous_item_id"] is None
    assert events[ADDED]["item"] == {
        "id": item,
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    assert completed["transcript"] == events[DELTA]["delta"] == events[SEGMENT]["text"]
    assert completed["usage"]["type"] == "duration"
    assert completed["languages"] == [{"code": "en"}]
    assert 0 <= events[SEGMENT]["start"] <= events[SEGMENT]["end"] <= completed["usage"]["seconds"]


def test_turns_follow_each_other(client: Client, snippets: list[Samples]) -> None:
    with client:
        for snippet in snippets[:2]:
            client.speak(snippet)
            client.speak(silence(1))
        first, second = client.completed(), client.completed()
    committed = [event for event in client.received if event["type"] == COMMITTED]
    assert [event["item_id"] for event in committed] == [first["item_id"], second["item_id"]]
    assert committed[1]["previous_item_id"] == first["item_id"]
    assert first["transcript"] != second["transcript"]


def test_smart_turn_hears_the_end_where_it_is_installed(
    snippets: list[Samples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpointers.cached(tmp_path, bias=20)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with LiveServer(model="scripted", apikey=KEY, workers=1) as server:

        def is_ready() -> bool:
            with server.client() as asking:
                return bool(asking.get("/v1/models/smart-turn").json()["state"] == "ready")

        assert not is_ready()
        patient = {"type": "semantic_vad", "eagerness": "low"}
        with Client(server, format=SIXTEEN, turn_detection=patient) as client:
            eventually(is_ready)
            client.speak(snippets[0])  # of words without any full stop
            client.speak(silence(2))
            seconds = client.completed()["usage"]["seconds"]
    assert seconds < len(snippets[0]) / SAMPLE_RATE + 1.5


def test_a_client_may_end_its_turns_itself(manual: Client, snippets: list[Samples]) -> None:
    with manual:
        manual.speak(snippets[0])
        manual.speak(silence(2))
        manual.send("input_audio_buffer.commit")
        completed = manual.completed()
    assert completed["transcript"]
    assert STARTED not in manual.types()
    assert STOPPED not in manual.types()
    length = len(snippets[0]) / SAMPLE_RATE + 2
    assert completed["usage"]["seconds"] == pytest.approx(length, abs=0.01)


def test_silence_is_a_turn_without_words(manual: Client) -> None:
    with manual:
        manual.speak(silence(1))
        manual.send("input_audio_buffer.commit")
        assert manual.completed()["transcript"] == ""
    assert DELTA not in manual.types()


def test_segments_of_a_turn_begin_where_the_client_began_it(
    manual: Client, snippets: list[Samples]
) -> None:
    with manual:
        manual.speak(silence(3))
        manual.speak(snippets[0])
        manual.send("input_audio_buffer.commit")
        segment = manual.wait_for(SEGMENT)
        assert 2.5 < segment["start"] < segment["end"] <= manual.completed()["usage"]["seconds"]


def test_an_empty_commit_is_an_error(manual: Client) -> None:
    with manual:
        manual.send("input_audio_buffer.commit", event_id="mine")
        error = manual.next()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["event_id"] == "mine"
        assert "append" in error["message"]
        manual.speak(silence(0.1))
        manual.send("input_audio_buffer.commit")
        manual.completed()


def test_cleared_audio_is_forgotten(manual: Client, snippets: list[Samples]) -> None:
    with manual:
        manual.speak(snippets[0])
        manual.send("input_audio_buffer.clear")
        manual.wait_for("input_audio_buffer.cleared")
        manual.send("input_audio_buffer.commit")
        assert manual.next()["type"] == "error"


def test_items_can_be_retrieved_and_deleted(manual: Client) -> None:
    with manual:
        manual.speak(silence(0.2))
        manual.send("input_audio_buffer.commit")
        item = manual.completed()["item_id"]
        manual.send("conversation.item.retrieve", item_id=item)
        found = manual.wait_for("conversation.item.retrieved")["item"]
        assert found["id"] == item
        assert found["content"] == [{"type": "input_audio", "transcript": ""}]
        manual.send("conversation.item.delete", item_id=item)
        assert manual.wait_for("conversation.item.deleted")["item_id"] == item
        manual.send("conversation.item.retrieve", item_id=item)
        assert manual.next()["error"]["param"] == "item_id"


def test_a_misspelled_setting_is_an_error_and_changes_nothing(manual: Client) -> None:
    sent = {"audio": {"input": {"transcription": {"langauge": "de"}, "turn_detection": {}}}}
    with manual:
        manual.send("session.update", session=sent, event_id="mine")
        error = manual.next()["error"]
        assert error["message"] == (
            "'session.audio.input.transcription.langauge' is not a field; did you mean 'language'?"
        )
        assert error["param"] == "session.audio.input.transcription.langauge"
        assert error["event_id"] == "mine"
        assert manual.update()["audio"]["input"]["turn_detection"] is None


def test_an_update_changes_only_what_it_names(client: Client) -> None:
    with client:
        client.update(transcription={"model": "whisper-1", "language": "en"})
        session = client.update(
            transcription={"prompt": "Budget."}, turn_detection={"threshold": 0.6}
        )["audio"]["input"]
        assert session["format"] == SIXTEEN
        assert session["transcription"]["model"] == "whisper-1"
        assert session["transcription"]["prompt"] == "Budget."
        assert session["turn_detection"]["type"] == "server_vad"
        assert session["turn_detection"]["threshold"] == 0.6
        session = client.update(transcription={"prompt": None})["audio"]["input"]
        assert session["transcription"]["language"] == "en"
        assert session["transcription"]["prompt"] is None
        session = client.update(turn_detection={"type": "semantic_vad"}, transcription=None)
        assert session["audio"]["input"]["transcription"] is None
        assert session["audio"]["input"]["turn_detection"] == {
            "type": "semantic_vad",
            "eagerness": "auto",
        }


def test_a_bad_update_changes_nothing(client: Client) -> None:
    with client:
        bad = {"audio": {"input": {"turn_detection": {"threshold": 7}}}}
        client.send("session.update", session=bad, event_id="e1")
        client.received.clear()
        error = client.next()["error"]
        assert error["param"] == "session.audio.input.turn_detection.threshold"
        assert error["event_id"] == "e1"
        client.send("session.update", session={})
        session = client.wait_for("session.updated")["session"]
        assert session["audio"]["input"]["turn_detection"]["threshold"] == 0.5


def test_a_model_that_is_not_known_is_refused(client: Client) -> None:
    with client:
        update = {"audio": {"input": {"transcription": {"model": "nonsense"}}}}
        client.send("session.update", session=update)
        error = client.next()["error"]
        assert error["code"] == "model_not_found"


def test_nothing_is_transcribed_where_nobody_wants_it(
    scripted: LiveServer, snippets: list[Samples]
) -> None:
    with Client(scripted, format=SIXTEEN, transcription=None) as client:
        client.speak(snippets[0])
        client.speak(silence(1))
        client.wait_for(DONE)
        client.send("session.update", session={})
        client.wait_for("session.updated")
    assert COMPLETED not in client.types()


def test_a_client_learns_how_likely_each_token_is(
    scripted: LiveServer, snippets: list[Samples]
) -> None:
    with Client(scripted, format=SIXTEEN) as client:
        include = ["item.input_audio_transcription.logprobs"]
        client.send("session.update", session={"include": include})
        assert client.wait_for("session.updated")["session"]["include"] == include
        client.speak(snippets[0])
        client.speak(silence(1))
        completed = client.completed()
    deltas = [event for event in client.received if event["type"] == DELTA]
    told = [token for event in deltas for token in event["logprobs"]]
    assert told == completed["logprobs"]
    assert "".join(token["token"] for token in told) == completed["transcript"]


def test_a_server_that_only_transcribes_says_so(client: Client) -> None:
    with client:
        client.send("response.create")
        assert "response.create" in client.next()["error"]["message"]
        client.send("response.cancel")  # there is nothing to cancel, which is no error
        client.update()


def test_a_turn_that_fails_leaves_the_session_alone(
    client: Client, gate: Gate, snippets: list[Samples]
) -> None:
    with client:
        gate.free = 0
        client.speak(snippets[0])
        client.speak(silence(1))
        client.wait_for(DONE)
        eventually(lambda: gate.arrived)
        gate.open(EngineNotLoaded("The engine is broken."))
        failed = client.wait_for(FAILED)
        assert failed["error"] == {
            "type": "server_error",
            "code": "engine_failed",
            "message": "The engine is broken.",
        }
        client.speak(snippets[1])
        client.speak(silence(1))
        assert client.completed()["transcript"]
