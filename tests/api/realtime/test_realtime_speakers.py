"""Who speaks and what it means in another language, while people speak."""

from __future__ import annotations

import json
import wave
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from reflector_gpu import pcm
from reflector_gpu.engines.recognition import catalog
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.reader import READER
from tests.api.realtime.client import COMPLETED, SEGMENT, SIXTEEN, Client, Event
from tests.conftest import SAMPLES
from tests.engines.tongues import TRANSLATION
from tests.live import KEY, LiveServer

RETRIEVE, RETRIEVED = "conversation.speakers.retrieve", "conversation.speakers.retrieved"


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """Hears the sentences of `reader` in whatever is said, and translates with the tiny model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.MODELS, READER.name, READER)
        with LiveServer(
            model=READER.name, translator=str(TRANSLATION), workers=1, apikey=KEY
        ) as server:
            yield server


@dataclass(frozen=True)
class Said:
    speaker: str
    samples: Samples


@pytest.fixture(scope="module")
def meeting() -> list[Said]:
    """What each of three people says in turn, each with the pause before it."""
    with wave.open(str(SAMPLES / "standup.wav")) as file:
        data = file.readframes(file.getnframes())
    sound: Samples = pcm.decoded(data)
    found: list[Said] = []
    at = 0
    for turn in json.loads((SAMPLES / "standup.json").read_text())["turns"]:
        end = round(turn["end"] * SAMPLE_RATE)
        found.append(Said(turn["speaker"], sound[at:end]))
        at = end
    return found


def session(server: LiveServer, **transcription: object) -> Client:
    """A client that ends its turns itself."""
    return Client(server, format=SIXTEEN, turn_detection=None, transcription=transcription)


def segments_of(client: Client, said: Said) -> list[Event]:
    """The segments of a turn in which this is said."""
    client.speak(said.samples, SAMPLE_RATE // 2)
    client.send("input_audio_buffer.commit")
    before = len(client.received)
    client.wait_for(COMPLETED)
    return [event for event in client.received[before:] if event["type"] == SEGMENT]


def right(pairs: list[tuple[str, str]]) -> float:
    """The share of (who it was, what it was told) that one name for each letter makes right."""
    counts = Counter(pairs)
    named: dict[str, str] = {}
    for (person, letter), _ in counts.most_common():
        if letter not in named and person not in named.values():
            named[letter] = person
    return sum(n for (who, letter), n in counts.items() if named.get(letter) == who) / len(pairs)


@pytest.mark.slow
def test_segments_say_who_speaks_and_people_keep_their_letters(
    server: LiveServer, meeting: list[Said]
) -> None:
    told: dict[str, tuple[str, str]] = {}
    with session(server, diarize=True) as client:
        for said in meeting:
            for segment in segments_of(client, said):
                assert "translation" not in segment
                told[segment["id"]] = said.speaker, segment["speaker"]
        client.send(RETRIEVE)
        corrected = {one["id"]: one for one in client.wait_for(RETRIEVED)["segments"]}
    assert {letter for _, letter in told.values()} >= {"A", "B", "C"}
    assert right(list(told.values())) > 0.8
    assert corrected.keys() == told.keys()
    final = [(told[name][0], one["speaker"]) for name, one in corrected.items()]
    assert right(final) >= right(list(told.values()))


def test_speakers_are_told_where_the_server_finds_the_turns(
    server: LiveServer, meeting: list[Said]
) -> None:
    with Client(server, format=SIXTEEN, transcription={"diarize": True}) as client:
        for said in meeting[:4]:
            client.speak(said.samples)
        client.speak(np.zeros(SAMPLE_RATE, np.float32))
        segment = client.wait_for(SEGMENT)
        assert segment["speaker"] == "A"


def test_segments_are_translated(server: LiveServer, meeting: list[Said]) -> None:
    with session(server, language="en", translate_to="fr") as client:
        segments = segments_of(client, meeting[1])
    assert segments
    pairs = {segment["text"]: segment["translation"] for segment in segments}
    assert pairs["Hello everyone."] == "Bonjour à tous."
    assert all(segment["speaker"] == "" for segment in segments)


def test_both_at_once_and_both_can_be_switched_off(server: LiveServer, meeting: list[Said]) -> None:
    with session(server, diarize=True, translate_to="Spanish") as client:
        first = segments_of(client, meeting[1])[0]
        assert first["speaker"] == "A"
        assert first["translation"] == "Hola a todos."
        client.update(transcription={"diarize": None, "translate_to": None})
        plain = segments_of(client, meeting[1])[0]
    assert plain["speaker"] == ""
    assert "translation" not in plain


def test_what_cannot_be_done_is_refused_at_once(server: LiveServer) -> None:
    option = {"translate_to": "Klingonese"}
    with Client(server) as client:
        client.send(
            "session.update",
            event_id="mine",
            session={"audio": {"input": {"transcription": option}}},
        )
        error = client.next_error()
        assert error["event_id"] == "mine"
        assert "Klingonese" in error["message"]
        assert "translate_to" not in client.update()["audio"]["input"]["transcription"]


def test_a_server_without_a_translator_says_so(scripted: LiveServer) -> None:
    with Client(scripted) as client:
        client.send(
            "session.update",
            session={"audio": {"input": {"transcription": {"translate_to": "fr"}}}},
        )
        assert "install" in client.next_error()["message"]


def test_nothing_is_known_of_speakers_that_nobody_asked_for(server: LiveServer) -> None:
    with Client(server) as client:
        client.send(RETRIEVE)
        assert "diarize" in client.next_error()["message"]
