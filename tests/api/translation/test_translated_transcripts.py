"""Transcripts in other languages, by a tiny model that was trained for these tests."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from reflector_gpu.engines.recognition import catalog
from tests.api.hosts import Answer, AudioHost
from tests.api.reader import READER
from tests.api.support import (
    FROM_URL,
    TRANSCRIBE,
    TRANSLATIONS,
    error_of,
    upload,
)
from tests.api.translation.tiny import (
    ENGLISH,
    ENGLISH_SENTENCES,
    FRENCH,
    SPANISH,
    TEXT,
    ask,
    serving,
)
from tests.live import LiveServer


def test_reflectors_form_has_the_translation(server: LiveServer, clip: bytes) -> None:
    found = upload(server, clip, data={"translate_to": "fr"}).json()
    assert found["text"] == ENGLISH
    assert found["translation"] == FRENCH
    told = [(s["text"], s["translation"]) for s in found["segments"]]
    assert told == [
        ("Hello everyone.", "Bonjour à tous."),
        ("I have a question.", "J'ai une question."),
    ]
    assert [s["start"] for s in found["segments"]] == [w["start"] for w in found["words"]][::2][:2]
    assert "segments" not in upload(server, clip).json()


def test_the_source_is_the_language_of_the_transcript(server: LiveServer, clip: bytes) -> None:
    found = upload(server, clip, data={"translate_to": "es", "language": "fr"}).json()
    assert (found["text"], found["translation"]) == (FRENCH, SPANISH)
    same = upload(server, clip, data={"translate_to": "fr", "language": "fr"}).json()
    assert (same["text"], same["translation"]) == (FRENCH, FRENCH)


@pytest.mark.parametrize("form", ["verbose_json", "diarized_json"])
def test_segments_have_their_translation(server: LiveServer, clip: bytes, form: str) -> None:
    fields = {"translate_to": "fr", "response_format": form}
    found = upload(server, clip, data=fields).json()
    assert found["text"] == ENGLISH
    assert found["translation"] == FRENCH
    assert " ".join(s["translation"] for s in found["segments"]) == FRENCH
    plain = upload(server, clip, data={"response_format": form})
    assert "translation" not in plain.text


@pytest.mark.parametrize(
    ("form", "field"), [("json", "text"), ("verbose_json", "text"), ("text", None), ("srt", None)]
)
def test_speech_that_the_model_does_not_translate_is_transcribed_and_its_text_translated(
    server: LiveServer, clip: bytes, monkeypatch: pytest.MonkeyPatch, form: str, field: str | None
) -> None:
    unable = replace(READER, spec=replace(READER.spec, translates=False))
    monkeypatch.setitem(catalog.MODELS, READER.name, unable)
    fields = {"language": "fr", "response_format": form, "model": READER.name}
    found = upload(server, clip, route=TRANSLATIONS, data=fields)
    text = found.json()[field] if field else found.text
    assert "Hello everyone." in text
    assert "I have a question." in text
    assert "Bonjour" not in found.text
    if form == "verbose_json":
        assert [one["text"] for one in found.json()["segments"]] == ENGLISH_SENTENCES
        assert found.json()["language"] == "english"


def test_the_text_alone_has_it_beside_it(server: LiveServer, clip: bytes) -> None:
    found = upload(server, clip, data={"translate_to": "fr", "response_format": "json"}).json()
    assert (found["text"], found["translation"]) == (ENGLISH, FRENCH)


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_plain_formats_are_in_the_language_asked_for(
    server: LiveServer, clip: bytes, form: str
) -> None:
    fields = {"translate_to": "fr", "response_format": form}
    found = upload(server, clip, data=fields).text
    assert "Bonjour à tous." in found
    assert "J'ai une question." in found
    assert "Hello" not in found
    if form != "text":
        assert "-->" in found


def test_a_stream_ends_with_the_translation(server: LiveServer, clip: bytes) -> None:
    fields = {"translate_to": "fr", "stream": "true", "response_format": "diarized_json"}
    lines = upload(server, clip, data=fields).text.split("\n\n")
    events: list[dict[str, Any]] = [json.loads(line[6:]) for line in lines if line[6:7] == "{"]
    spoken = "".join(e["delta"] for e in events if e["type"] == "transcript.text.delta")
    assert spoken == ENGLISH
    told = [e["translation"] for e in events if e["type"] == "transcript.text.segment"]
    assert " ".join(told) == FRENCH
    assert events[-1]["type"] == "transcript.text.done"
    assert (events[-1]["text"], events[-1]["translation"]) == (ENGLISH, FRENCH)
    segments = events[-1]["segments"]
    assert " ".join(segment["text"] for segment in segments) == ENGLISH
    assert " ".join(segment["translation"] for segment in segments) == FRENCH


def test_all_routes_translate_the_transcript(
    server: LiveServer, clip: bytes, host: AudioHost
) -> None:
    fields = {"translate_to": "fr"}
    assert upload(server, clip, route=TRANSCRIBE, data=fields).json()["translation"] == FRENCH
    english = upload(server, clip, route=TRANSLATIONS, data=fields).json()
    assert english == {"text": ENGLISH, "translation": FRENCH}
    url = host.put("/clip.wav", Answer(clip))
    with server.client() as client:
        found = client.post(FROM_URL, json={"audio_file_url": url, **fields}).json()
    assert (found["text"], found["translation"]) == (ENGLISH, FRENCH)


def test_each_of_several_files(server: LiveServer, clips: list[bytes]) -> None:
    found = upload(server, *clips[:2], data={"translate_to": "fr"}).json()["results"]
    assert [entry["translation"] for entry in found] == [FRENCH, FRENCH]


def test_a_transcript_may_be_longer_than_a_text(clip: bytes) -> None:
    with serving(translate_characters=len(ENGLISH) - 1) as server:
        error_of(ask(server, body=TEXT), 413)
        assert upload(server, clip, data={"translate_to": "fr"}).json()["translation"] == FRENCH


def test_silence_has_no_translation(server: LiveServer, quiet: bytes) -> None:
    found = upload(server, quiet, data={"translate_to": "fr"}).json()
    assert found["text"] == ""
    assert "translation" not in found


@pytest.mark.parametrize("language", [None, "en"])
def test_a_language_that_nobody_knows_is_told_at_once(
    server: LiveServer, clip: bytes, language: str | None
) -> None:
    fields = {"translate_to": "tlh", **({"language": language} if language else {})}
    error = error_of(upload(server, clip, data=fields), 400)
    assert error["param"] == "translate_to"
    assert " fr," in error["message"]
