"""Text in other languages, by a tiny model that was trained for these tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.engines.translation.catalog import TRANSLATORS
from tests import reflector
from tests.api.support import (
    error_of,
    eventually,
    upload,
)
from tests.api.translation.tiny import (
    ENGLISH,
    FRENCH,
    SPANISH,
    TEXT,
    TRANSLATE,
    ask,
)
from tests.engines.hub import Hub
from tests.engines.tongues import TRANSLATION, sentences
from tests.live import KEY, LiveServer

LANGUAGES = "/v1/translation/languages"

START = Callable[..., LiveServer]


def translation(
    server: LiveServer, text: str, source: str = "en", target: str = "fr"
) -> dict[str, str]:
    answer = ask(server, body={"text": text, "source_language": source, "target_language": target})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"text"}
    found: dict[str, str] = answer.json()["text"]
    return found


PAIR = {"source_language": "en", "target_language": "es"}


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
        answer = ask(server, {"text": "Hello.", "target_language": code})
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
