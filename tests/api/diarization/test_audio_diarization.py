"""Diarization in the formats of Speaches and LocalAI."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.formats import diarization
from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.types import SpeakerTurn
from tests.api.hosts import Answer, AudioHost
from tests.api.support import error_of
from tests.conftest import SAMPLES
from tests.live import LiveServer

pytestmark = pytest.mark.slow

ROUTE = "/v1/audio/diarization"


@pytest.fixture(scope="module")
def meeting() -> bytes:
    return (SAMPLES / "standup.ogg").read_bytes()


def ask(server: LiveServer, audio: bytes, **fields: object) -> httpx.Response:
    with server.client() as client:
        files = {"file": ("stand up.ogg", audio)}
        return client.post(ROUTE, files=files, data=fields)


@pytest.fixture(scope="module")
def turns(scripted: LiveServer, meeting: bytes) -> list[dict[str, Any]]:
    """The turns that /diarize finds in it."""
    with scripted.client() as client:
        answer = client.post("/diarize", files={"file": meeting})
    found: list[dict[str, Any]] = answer.json()["diarization"]
    return found


def test_json(scripted: LiveServer, meeting: bytes, turns: list[dict[str, Any]]) -> None:
    body = ask(scripted, meeting).raise_for_status().json()
    assert body.keys() == {"duration", "segments", "overlaps"}
    assert body["duration"] > turns[-1]["end"]
    confidences = [segment.pop("confidence") for segment in body["segments"]]
    assert all(0.5 < confidence <= 1 for confidence in confidences)
    assert body["segments"] == [
        {**turn, "speaker": f"SPEAKER_{turn['speaker']:02d}"} for turn in turns
    ]


def test_overlaps_are_where_several_speak_at_once() -> None:
    turns = [
        SpeakerTurn(0.0, 4.0, 0),
        SpeakerTurn(1.0, 3.0, 1),
        SpeakerTurn(2.0, 2.5, 2),
        SpeakerTurn(4.0, 5.0, 1),
    ]
    body = diarization.segments(Diarized(turns, 6.0, {0: "Ann"}), offset=10.0)
    assert [(one.start, one.end, one.speakers) for one in body.overlaps] == [
        (11.0, 12.0, ("Ann", "SPEAKER_01")),
        (12.0, 12.5, ("Ann", "SPEAKER_01", "SPEAKER_02")),
        (12.5, 13.0, ("Ann", "SPEAKER_01")),
    ]


def test_overlaps_agree_with_the_turns(scripted: LiveServer, meeting: bytes) -> None:
    body = ask(scripted, meeting).json()
    for one in body["overlaps"]:
        assert one["start"] < one["end"]
        middle = (one["start"] + one["end"]) / 2
        speaking = {
            segment["speaker"]
            for segment in body["segments"]
            if segment["start"] <= middle < segment["end"]
        }
        assert speaking == set(one["speakers"])


def test_rttm(scripted: LiveServer, meeting: bytes, turns: list[dict[str, Any]]) -> None:
    answer = ask(scripted, meeting, response_format="rttm").raise_for_status()
    assert answer.headers["Content-Type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert len(lines) == len(turns)
    for line, turn in zip(lines, turns, strict=True):
        kind, file, channel, start, duration, *blank, speaker, score, ahead = line.split(" ")
        assert (kind, file, channel) == ("SPEAKER", "stand_up", "1")
        assert [*blank, ahead] == ["<NA>"] * 3
        assert 0.5 < float(score) <= 1
        assert float(start) == pytest.approx(turn["start"], abs=0.0011)
        assert float(duration) == pytest.approx(turn["end"] - turn["start"], abs=0.0021)
        assert speaker == f"SPEAKER_{turn['speaker']:02d}"


def test_the_number_of_speakers_is_respected(scripted: LiveServer, meeting: bytes) -> None:
    body = ask(scripted, meeting, num_speakers="1", timestamp="100").json()
    assert {segment["speaker"] for segment in body["segments"]} == {"SPEAKER_00"}
    assert body["segments"][0]["start"] > 100
    assert body["duration"] < 100


def test_known_speakers_bear_their_names(scripted: LiveServer, meeting: bytes) -> None:
    anna = base64.b64encode((SAMPLES / "anna.ogg").read_bytes()).decode()
    fields = {
        "known_speaker_names[]": "Anna Berg",
        "known_speaker_references[]": f"data:audio/ogg;base64,{anna}",
    }
    body = ask(scripted, meeting, **fields).raise_for_status().json()
    speakers = {segment["speaker"] for segment in body["segments"]}
    assert "Anna Berg" in speakers
    assert all(one == "Anna Berg" or one.startswith("SPEAKER_") for one in speakers)
    lines = ask(scripted, meeting, response_format="rttm", **fields).text.splitlines()
    assert {line.split(" ")[7] for line in lines} == {one.replace(" ", "_") for one in speakers}


def test_a_recording_by_its_url(scripted: LiveServer, meeting: bytes, host: AudioHost) -> None:
    url = host.put("/meeting", Answer(meeting))
    with scripted.client() as client:
        answer = client.post(ROUTE, params={"audio_file_url": url, "response_format": "rttm"})
    assert answer.text.startswith("SPEAKER audio 1 ")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"max_speaker": "2"}, "max_speaker"),
        ({"known_speaker_names[]": "Anna"}, "known_speaker_names"),
    ],
)
def test_400_names_the_field_that_is_wrong(
    scripted: LiveServer, meeting: bytes, fields: dict[str, str], param: str
) -> None:
    assert error_of(ask(scripted, meeting, **fields), 400)["param"] == param


def test_requests_of_speaches_and_localai_clients(scripted: LiveServer, meeting: bytes) -> None:
    """Fields that only Speaches or LocalAI know are ignored and named."""
    answer = ask(scripted, meeting, model="pyannote/x", include_text="true")
    assert answer.status_code == 200
    assert answer.headers["X-Reflector-Ignored"] == "model,include_text"


@given(st.text(max_size=50), st.text(max_size=20))
def test_rttm_has_ten_columns_whatever_names_are(filename: str, speaker: str) -> None:
    found = Diarized([SpeakerTurn(0.5, 1.25, 0)], 2.0, {0: speaker})
    (line,) = diarization.rttm(found, filename).rstrip("\n").split("\n")
    assert len(line.split()) == 10
    assert len(line.split(" ")) == 10
    assert line.split()[3:5] == ["0.500", "0.750"]
