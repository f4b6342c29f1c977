"""Speakers who are named, because their voices came with the recording."""

from __future__ import annotations

import base64
import json
import wave
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from openai import OpenAI

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import TRANSCRIPTIONS, ask_url, error_of, silence, upload, wav
from tests.conftest import SAMPLES
from tests.live import LiveServer

VOICES: Mapping[str, tuple[float, float]] = {
    "Henry": (29.7, 37.6),
    "Anna": (15.0, 18.0),
    "David": (5.0, 14.5),
}
"""Where in the meeting each of them speaks alone, seconds; not in the order of their speaking."""


@pytest.fixture(scope="module")
def meeting() -> Samples:
    """The part of the meeting in which each of them has spoken."""
    with wave.open(str(SAMPLES / "standup.wav")) as file:
        pcm = np.frombuffer(file.readframes(38 * SAMPLE_RATE), "<i2")
    return pcm.astype(np.float32) / np.float32(32768)


def data_url(audio: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(audio).decode()}"


def voice(meeting: Samples, name: str) -> str:
    begin, end = (round(at * SAMPLE_RATE) for at in VOICES[name])
    return data_url(wav(meeting[begin:end]))


def wrong(words: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> float:
    """The share of ``words`` that have not the name of who said them; ``names`` stand for names."""
    said = json.loads((SAMPLES / "standup.json").read_text())["words"]

    def who(time: float) -> str:
        return str(min(said, key=lambda w: abs((w["start"] + w["end"]) / 2 - time))["speaker"])

    right = 0
    for word in words:
        person = who((word["start"] + word["end"]) / 2)
        right += word["speaker"] == names.get(person, person)
    return 1 - right / len(words)


def form(meeting: Samples, *names: str) -> dict[str, Any]:
    return {
        "diarize": "true",
        "known_speaker_names[]": list(names),
        "known_speaker_references[]": [voice(meeting, name) for name in names],
    }


def test_everyone_by_name(scripted: LiveServer, meeting: Samples) -> None:
    answer = upload(scripted, wav(meeting), data=form(meeting, "Henry", "Anna", "David"))
    plain = upload(scripted, wav(meeting)).json()
    words = answer.json()["words"]
    assert [word["word"] for word in words] == [word["word"] for word in plain["words"]]
    assert words[-1]["end"] <= len(meeting) / SAMPLE_RATE
    assert wrong(words, {}) <= 0.05


@pytest.mark.slow
def test_voices_ask_for_names_unless_that_is_declined(
    scripted: LiveServer, meeting: Samples
) -> None:
    fields = form(meeting, "Anna")
    del fields["diarize"]
    named = upload(scripted, wav(meeting), data=fields).json()["words"]
    assert {word["speaker"] for word in named} == {"Anna", "A", "B"}
    plain = upload(scripted, wav(meeting), data={**fields, "diarize": "false"}).json()["words"]
    assert not any("speaker" in word for word in plain)


@pytest.mark.slow
def test_unknown_speakers_have_letters(scripted: LiveServer, meeting: Samples) -> None:
    words = upload(scripted, wav(meeting), data=form(meeting, "Anna", "David")).json()["words"]
    assert wrong(words, {"Henry": "A"}) <= 0.05


@pytest.mark.slow
def test_the_same_by_url_with_a_hint(
    scripted: LiveServer, meeting: Samples, host: AudioHost
) -> None:
    url = host.put("/meeting.wav", Answer(wav(meeting)))
    names = ["Anna", "David", "Henry"]
    references = [voice(meeting, name) for name in names]
    answer = ask_url(
        scripted,
        url,
        diarize=True,
        num_speakers=3,
        known_speaker_names=names,
        known_speaker_references=references,
    )
    assert wrong(answer.json()["words"], {}) <= 0.05


@pytest.mark.slow
def test_openai_client_and_subtitles(
    client: OpenAI, scripted: LiveServer, meeting: Samples
) -> None:
    answer = client.audio.transcriptions.create(
        file=("standup.wav", wav(meeting)),
        model="whisper-1",
        response_format="diarized_json",
        chunking_strategy="auto",
        extra_body={
            "known_speaker_names": ["Anna"],
            "known_speaker_references": [voice(meeting, "Anna")],
        },
    )
    assert answer.segments[0].speaker == "Anna"
    assert {segment.speaker for segment in answer.segments} == {"Anna", "A", "B"}
    fields = {**form(meeting, "Anna"), "response_format": "vtt"}
    assert "<v Anna>" in upload(scripted, wav(meeting), data=fields).text


BAD = [
    (["Anna"], ["no URL"], "known_speaker_references", "data URL"),
    (["Anna"], ["data:audio/wav;base64,???"], "known_speaker_references", "base64"),
    (["Anna"], [data_url(b"no audio")], "known_speaker_references", "Anna"),
    (["Anna"], [data_url(wav(silence(3)))], "known_speaker_references", "0.0 seconds"),
    (["Anna"], [data_url(wav(silence(40)))], "known_speaker_references", "30 seconds"),
    (["Anna", "Ben"], [data_url(wav(silence(3)))], "known_speaker_names", "2"),
    (["Anna"], [], "known_speaker_names", "0"),
    (["Anna"] * 2, ["data:,a", "data:,a"], "known_speaker_names", "of its own"),
    (["a" * 101], ["data:,a"], "known_speaker_names", "100"),
    ([str(i) for i in range(17)], ["data:,a"] * 17, "known_speaker_names", "16"),
]


@pytest.mark.parametrize(("names", "references", "param", "told"), BAD)
def test_400_for_voices_that_cannot_be_used(
    scripted: LiveServer,
    quiet: bytes,
    names: list[str],
    references: list[str],
    param: str,
    told: str,
) -> None:
    data = {
        "diarize": "true",
        "known_speaker_names[]": names,
        "known_speaker_references[]": references,
    }
    with scripted.client() as client:
        answer = client.post(TRANSCRIPTIONS, files={"file": quiet}, data=data)
    error = error_of(answer, 400)
    assert error["param"] == param
    assert told in error["message"]
