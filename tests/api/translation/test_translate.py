"""Text and transcripts to other languages, by a tiny model that was trained for these tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.engines.recognition import catalog
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from tests import reflector
from tests.api.hosts import Answer, AudioHost
from tests.api.reader import READER
from tests.api.support import (
    FROM_URL,
    TRANSCRIBE,
    TRANSLATIONS,
    error_of,
    eventually,
    upload,
)
from tests.engines.hub import Hub
from tests.engines.tongues import TRANSLATION, sentences
from tests.live import KEY, LiveServer

TRANSLATE = "/translate"
LANGUAGES = "/v1/translation/languages"
START = Callable[..., LiveServer]

ENGLISH_SENTENCES = ["Hello everyone.", "I have a question."]
ENGLISH = " ".join(ENGLISH_SENTENCES)
FRENCH = "Bonjour à tous. J'ai une question."
SPANISH = "Hola a todos. Tengo una pregunta."


@contextmanager
def serving(translate_characters: int) -> Iterator[LiveServer]:
    """Hears the sentences of `reader`, and translates with the tiny model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.MODELS, READER.name, READER)
        with LiveServer(
            model=READER.name,
            translator=str(TRANSLATION),
            translate_characters=translate_characters,
            workers=1,
            apikey=KEY,
            url_allow="127.0.0.1",
        ) as server:
            yield server


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with serving(translate_characters=20_000) as server:
        yield server


def ask(
    server: LiveServer,
    query: Mapping[str, str] | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    with server.client() as client:
        return client.post(TRANSLATE, params=query, json=body, headers=headers)


def translation(
    server: LiveServer, text: str, source: str = "en", target: str = "fr"
) -> dict[str, str]:
    answer = ask(server, body={"text": text, "source_language": source, "target_language": target})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"text"}
    found: dict[str, str] = answer.json()["text"]
    return found


PAIR = {"source_language": "en", "target_language": "es"}
TEXT = {"text": ENGLISH}


@pytest.mark.parametrize(
    ("query", "body"),
    [({**TEXT, **PAIR}, None), (TEXT, PAIR), ({}, {**TEXT, **PAIR}), ({"text": "Hi"}, TEXT | PAIR)],
    ids=["reflector's client", "reflector's tests", "body", "body over query"],
)
def test_the_forms_of_the_request(
    server: LiveServer, query: dict[str, str], body: dict[str, str] | None
) -> None:
    assert ask(server, query, body).json() == {"text": {"en": ENGLISH, "es": SPANISH}}


def test_from_english_to_french_unless_told(server: LiveServer) -> None:
    assert ask(server, TEXT).json() == {"text": {"en": ENGLISH, "fr": FRENCH}}
    empty = {"source_language": "", "target_language": ""}
    assert ask(server, {**TEXT, **empty}).json() == {"text": {"en": ENGLISH, "fr": FRENCH}}


def test_a_pair_after_its_opposite(server: LiveServer) -> None:
    assert translation(server, ENGLISH, "en", "fr") == {"en": ENGLISH, "fr": FRENCH}
    assert translation(server, FRENCH, "fr", "en") == {"fr": FRENCH, "en": ENGLISH}
    assert translation(server, ENGLISH, "en", "fr") == {"en": ENGLISH, "fr": FRENCH}


def test_language_codes_come_back_as_they_were_sent(server: LiveServer) -> None:
    assert translation(server, ENGLISH, "eng", "fr-CA") == {"eng": ENGLISH, "fr-CA": FRENCH}
    assert translation(server, FRENCH, "FRA", "es_419") == {"FRA": FRENCH, "es_419": SPANISH}


def test_a_long_text_keeps_its_shape(server: LiveServer) -> None:
    known = sentences()
    text = "".join(f"{one['en']}{' ' if i % 3 else chr(10) * 2}" for i, one in enumerate(known))
    told = "".join(f"{one['es']}{' ' if i % 3 else chr(10) * 2}" for i, one in enumerate(known))
    assert translation(server, text, "en", "es") == {"en": text, "es": told}


@pytest.mark.parametrize("text", ["", " \n", "12:30", "🎉 ---"])
def test_text_without_letters_stays(server: LiveServer, text: str) -> None:
    assert translation(server, text) == {"en": text, "fr": text}


@pytest.mark.parametrize(
    ("source", "target"), [("en", "en"), ("en", "en-GB"), ("eng", "en"), ("da", "dan")]
)
def test_the_same_language_is_the_same_text(server: LiveServer, source: str, target: str) -> None:
    assert translation(server, ENGLISH, source, target) == {source: ENGLISH, target: ENGLISH}


def test_near_languages_go_to_a_translator_that_has_both(bare: START, tmp_path: Path) -> None:
    folder = shutil.copytree(TRANSLATION, tmp_path / "nordic")
    file = folder / "shared_vocabulary.json"
    names = {"__en__": "nor_Latn", "__fr__": "nob_Latn", "__es__": "srp_Cyrl"}
    pieces = [names.get(piece, piece) for piece in json.loads(file.read_text())]
    file.write_text(json.dumps([p.strip("_") if p[:2] == "__" else p for p in pieces]))
    server = bare(translator=f"{TRANSLATION},{folder}", workers=1, apikey=KEY)
    assert translation(server, ENGLISH, "no", "nb")["nb"] == FRENCH
    assert translation(server, ENGLISH, "no", "no-NO")["no-NO"] == ENGLISH
    for source, target, param in (
        ("en", "sr-Latn", "target_language"),
        ("sr-Latn", "sr-Cyrl", "source_language"),
    ):
        fields = {"source_language": source, "target_language": target}
        assert error_of(ask(server, TEXT, fields), 400)["param"] == param


@pytest.mark.parametrize(
    ("source", "target", "param"),
    [("en", "tlh", "target_language"), ("tlh", "en", "source_language")],
)
def test_an_unknown_pair_lists_the_known_ones(
    server: LiveServer, source: str, target: str, param: str
) -> None:
    answer = ask(server, {**TEXT, "source_language": source, "target_language": target})
    error = error_of(answer, 400)
    assert (error["param"], error["code"]) == (param, "unsupported_language")
    assert "'tlh'" in error["message"]
    for code in (" en", " es", " fr", " zh"):
        assert f"{code}," in error["message"] or f"{code}." in error["message"]
    assert len(error["message"]) < 1500


def test_every_language_of_reflector_is_translated_or_refused(server: LiveServer) -> None:
    refused = set()
    for code in reflector.LANGUAGES:
        answer = ask(server, {**TEXT, "target_language": code})
        if answer.status_code == 200:
            assert set(answer.json()["text"]) == {"en", code}
        else:
            assert error_of(answer, 400)["code"] == "unsupported_language"
            refused.add(code)
    assert refused == reflector.UNTRANSLATED


@pytest.mark.parametrize("target", ["FR", "fr-CA", "fra", "French", "français"])
def test_a_language_by_each_of_its_names(server: LiveServer, target: str) -> None:
    assert translation(server, ENGLISH, "English", target) == {"English": ENGLISH, target: FRENCH}


def test_a_language_that_is_misspelt(server: LiveServer, clip: bytes) -> None:
    for field in ("source_language", "target_language"):
        error = error_of(ask(server, TEXT, {field: "frech"}), 400)
        assert (error["param"], error["code"]) == (field, "unsupported_language")
        assert "did you mean 'french'?" in error["message"]
    for field in ("language", "translate_to"):
        error = error_of(upload(server, clip, data={field: "frech"}), 400)
        assert (error["param"], error["code"]) == (field, "unsupported_language")
        assert "did you mean 'french'?" in error["message"]
        found = upload(server, clip, data={field: "French"})
        assert FRENCH in found.json().values()


@pytest.mark.parametrize("code", ["english?", "x" * 90, "xx", "-", "1"])
def test_an_unknown_language_code_is_named(server: LiveServer, code: str) -> None:
    error = error_of(ask(server, TEXT, {"target_language": code}), 400)
    assert error["param"] == "target_language"
    assert len(error["message"]) < 200


@pytest.mark.parametrize(
    ("query", "body", "param"),
    [
        ({}, None, "text"),
        ({}, {"text": None}, "text"),
        ({}, {"text": ["a"]}, "text"),
        (TEXT, {"source_language": 7}, "source_language"),
        (TEXT, ["en", "fr"], None),
        ({"source_language": "x" * 200, **TEXT}, None, "source_language"),
    ],
)
def test_a_bad_field_is_named(
    server: LiveServer, query: dict[str, str], body: object, param: str | None
) -> None:
    assert error_of(ask(server, query, body), 400)["param"] == param


def test_a_body_that_is_not_json(server: LiveServer) -> None:
    with server.client() as client:
        error_of(client.post(TRANSLATE, params=TEXT, content=b"text=hello"), 400)


def test_a_text_over_the_limit(server: LiveServer) -> None:
    error = error_of(ask(server, body={"text": "word " * 4001}), 413)
    assert "20005 characters" in error["message"]
    assert "20000" in error["message"]
    assert error["param"] == "text"
    error_of(ask(server, body={"text": "x" * 1_000_000}), 413)


@settings(max_examples=60)
@given(st.text(max_size=80))
def test_any_text_has_a_translation(server: LiveServer, text: str) -> None:
    found = translation(server, text)
    assert found["en"] == text
    for end in "\r\n":
        assert found["fr"].count(end) == text.count(end)


def test_half_a_character_is_no_text(server: LiveServer) -> None:
    with server.client() as client:
        error_of(client.post(TRANSLATE, content=b'{"text": "\\ud83d"}'), 400)


def test_translation_needs_a_key(server: LiveServer) -> None:
    with server.client(key=None) as client:
        error_of(client.post(TRANSLATE, params=TEXT), 401)
        error_of(client.get(LANGUAGES), 401)


def test_a_timeout_of_the_client_is_a_504(server: LiveServer) -> None:
    error_of(ask(server, TEXT, headers={"X-Request-Timeout": "0.00001"}), 504)


def test_the_languages(server: LiveServer) -> None:
    with server.client() as client:
        (card,) = client.get(LANGUAGES).json()["data"]
    assert card["model"] == "translation-tiny"
    assert len(card["sources"]) == 100
    assert card["sources"] == card["targets"]
    assert {"en", "fr", "es"} < set(card["sources"])
    assert card["pairs"] is None


# What is not installed


def test_without_weights_the_download_is_named(
    bare: START, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    server = bare(translator="m2m100", apikey=KEY)
    for answer in (ask(server, TEXT), server.client().get(LANGUAGES)):
        error = error_of(answer, 503)
        assert error["code"] == "model_not_installed"
        assert "reflector-gpu models pull m2m100" in error["message"]
        assert "Retry-After" in answer.headers


def test_weights_are_fetched_where_that_is_allowed(
    bare: START, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = TRANSLATORS.models["m2m100"].weights
    assert weights
    files = {file.name: file.read_bytes() for file in TRANSLATION.iterdir()}
    with Hub(weights.repository, files) as hub:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        server = bare(translator="m2m100", auto_pull=True, workers=1, apikey=KEY)
        error = error_of(ask(server, TEXT), 503)
        assert "'m2m100' is being downloaded" in error["message"]
        eventually(lambda: ask(server, TEXT).status_code == 200)
    assert translation(server, ENGLISH)["fr"] == FRENCH
    assert "sentences.tsv" not in {download.name for download in hub.downloads}


def test_without_apertium_its_packages_are_named(
    bare: START, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    server = bare(translator="apertium", apikey=KEY)
    error = error_of(ask(server, {**TEXT, **PAIR}), 503)
    assert "apt-get install apertium apertium-eng-spa apertium-eng-cat" in error["message"]
    assert ask(server, {**TEXT, "target_language": "en"}).json() == {"text": {"en": ENGLISH}}


def test_of_several_the_first_that_knows_the_pair(
    bare: START, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    server = bare(translator=f"opus-mt-fi-hu,{TRANSLATION}", workers=1, apikey=KEY)
    assert translation(server, ENGLISH)["fr"] == FRENCH
    # Whether the absent one knows a pair that the other does not, nobody can tell.
    error_of(ask(server, {**TEXT, "target_language": "tlh"}), 503)


@pytest.mark.skipif(shutil.which("apertium") is None, reason="apertium is not installed")
def test_apertium(bare: START) -> None:
    server = bare(translator="apertium", workers=1, apikey=KEY)
    text = "We need to talk about the meeting tomorrow"
    found = translation(server, text, "en", "es")
    assert found == {"en": text, "es": "Necesitamos hablar sobre la reunión mañana"}
    assert translation(server, "the xyzzyq\n\n The report", "eng", "es")["es"].lower() == (
        "el xyzzyq\n\n el informe"
    )
    error = error_of(ask(server, {**TEXT, "target_language": "fr"}), 400)
    assert "es" in error["message"]
    with server.client() as client:
        (card,) = client.get(LANGUAGES).json()["data"]
    assert ["en", "es"] in card["pairs"]
    assert ["es", "ca"] not in card["pairs"]


# Transcripts


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
