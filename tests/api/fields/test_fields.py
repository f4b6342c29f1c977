"""The fields that clients may send with audio, in a form and in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reflector_gpu.api.accepted_fields import IGNORED_HEADER
from reflector_gpu.api.app import create_app
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Samples, TranscribeOptions
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    TRANSCRIBE,
    TRANSCRIPTIONS,
    Gate,
    ask_url,
    error_of,
    silence,
    upload,
    wav,
)
from tests.live import LiveServer

Form = dict[str, str | list[str]]
VAD = "chunking_strategy"

# What the engine is told

ENGINE_FIELDS: list[tuple[Form, dict[str, object]]] = [
    ({}, {}),
    ({"prompt": "Minutes of the"}, {"prompt": "Minutes of the"}),
    ({"temperature": "0.25"}, {"temperature": 0.25}),
    ({"temperature": "0"}, {"temperature": 0.0}),
    ({"hotwords": "Reflector, Zulip"}, {"hotwords": ("Reflector", "Zulip")}),
    ({"hotwords": ["Reflector", "Zulip"]}, {"hotwords": ("Reflector", "Zulip")}),
    ({"hotwords[]": ["Reflector", "Zulip"]}, {"hotwords": ("Reflector", "Zulip")}),
    ({"hotwords[]": "Reflector"}, {"hotwords": ("Reflector",)}),
    ({"keywords[]": ["Reflector", "Zulip"]}, {"hotwords": ("Reflector", "Zulip")}),
    ({"keywords": "Zulip"}, {"hotwords": ("Zulip",)}),
    (
        {"hotwords": "Reflector, Zulip", "keywords[]": ["Zulip", "Jitsi"]},
        {"hotwords": ("Reflector", "Zulip", "Jitsi")},
    ),
    ({"languages[]": ["fr", "en"]}, {"languages": ("en", "fr")}),
    ({"languages": "English, fra, Latin"}, {"languages": ("en", "fr")}),
    ({"languages[]": ["fr"]}, {"language": "fr"}),
    ({"languages[]": ["la", "fr-CA"]}, {"language": "fr"}),
    ({"languages[]": ["fr", "en"], "language": "de"}, {"language": "de"}),
    ({"languages[]": ["la"], "language": "de"}, {"language": "de"}),
    ({"language": "en"}, {"language": "en"}),
    ({"language": "FR"}, {"language": "fr"}),
    ({"language": "German"}, {"language": "de"}),
    ({"language": "es-MX"}, {"language": "es"}),
    ({"language": "en_US"}, {"language": "en"}),
]

EMPTY = (
    "model",
    "language",
    "prompt",
    "hotwords",
    "hotwords[]",
    "keywords",
    "keywords[]",
    "languages",
    "languages[]",
    "temperature",
    "response_format",
    "timestamp_granularities",
    "timestamp_granularities[]",
    "stream",
    "batch",
    "include[]",
    "chunking_strategy",
    "known_speaker_names[]",
    "known_speaker_references[]",
    "never_heard_of",
)

IGNORED: list[Form] = [
    {"known_speaker_names[]": ["Anna", "Ben"]},
    {"known_speaker_names[]": "Anna, née Ben"},
    {
        "known_speaker_references[]": [
            "data:audio/wav;base64,UklGRg==",
            "data:audio/wav;base64,AA==",
        ]
    },
    {"user": "somebody", "never_heard_of": "x", "never[heard]": "of"},
]


@pytest.mark.parametrize(("form", "expected"), ENGINE_FIELDS)
def test_form_fields_reach_the_engine(
    scripted: LiveServer, clip: bytes, gate: Gate, form: Form, expected: dict[str, Any]
) -> None:
    assert upload(scripted, clip, data=form).status_code == 200
    assert gate.options == [TranscribeOptions(**expected)]


@pytest.mark.parametrize("as_list", [list, ",".join])
def test_json_fields_reach_the_engine(
    scripted: LiveServer,
    clip: bytes,
    host: AudioHost,
    gate: Gate,
    as_list: Callable[[list[str]], object],
) -> None:
    fields = {
        "language": "fr",
        "prompt": "Compte rendu",
        "hotwords": as_list(["Zulip", "Reflector"]),
        "temperature": 1,
        "model": "scripted",
        "batch": True,
    }
    assert ask_url(scripted, host.put("/a", Answer(clip)), **fields).status_code == 200
    assert gate.options == [
        TranscribeOptions(
            "fr", prompt="Compte rendu", hotwords=("Zulip", "Reflector"), temperature=1
        )
    ]


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_field_counts_as_left_out(
    scripted: LiveServer, clip: bytes, text: str, gate: Gate, name: str
) -> None:
    body = upload(scripted, clip, data={name: ""}).json()
    assert body.keys() == {"text", "words", "filename"}
    assert body["text"] == text
    assert gate.options == [TranscribeOptions()]


def test_a_form_of_empty_fields(scripted: LiveServer, clip: bytes, text: str) -> None:
    for route in (TRANSCRIPTIONS, TRANSCRIBE):
        body = upload(scripted, clip, route=route, data=dict.fromkeys(EMPTY, "")).json()
        assert body["text"] == text


@pytest.mark.parametrize("value", [None, ""])
def test_empty_json_fields_were_left_out(
    scripted: LiveServer, clip: bytes, host: AudioHost, gate: Gate, value: str | None
) -> None:
    names = {name.removesuffix("[]") for name in EMPTY} | {"timestamp_offset"}
    fields = dict.fromkeys(names, value)
    body = ask_url(scripted, host.put("/a", Answer(clip)), **fields).json()
    assert body.keys() == {"text", "words"}
    assert gate.options == [TranscribeOptions()]


@pytest.mark.parametrize("form", IGNORED)
def test_fields_that_change_nothing_here(
    scripted: LiveServer, clip: bytes, text: str, form: Form
) -> None:
    assert upload(scripted, clip, data=form).json()["text"] == text


# timestamp_granularities, stream, response_format

GRANULARITIES: list[tuple[Form, set[str]]] = [
    ({}, {"segments"}),
    ({"timestamp_granularities[]": "word"}, {"words"}),
    ({"timestamp_granularities": "word"}, {"words"}),
    ({"timestamp_granularities[]": "segment"}, {"segments"}),
    ({"timestamp_granularities[]": ["word", "segment"]}, {"words", "segments"}),
    ({"timestamp_granularities": ["word", "segment"]}, {"words", "segments"}),
    ({"timestamp_granularities": "segment, word"}, {"words", "segments"}),
    (
        {"timestamp_granularities": "word", "timestamp_granularities[]": "segment"},
        {"words", "segments"},
    ),
]


@pytest.mark.parametrize(("form", "expected"), GRANULARITIES)
def test_granularities_with_and_without_brackets(
    scripted: LiveServer, clip: bytes, form: Form, expected: set[str]
) -> None:
    body = upload(scripted, clip, data={"response_format": "verbose_json", **form}).json()
    assert body.keys() & {"words", "segments"} == expected


@pytest.mark.parametrize("form", ["json", "text", "srt", "verbose_json", ""])
def test_granularities_without_an_effect_are_named(
    scripted: LiveServer, clip: bytes, form: str
) -> None:
    data = {"response_format": form, "timestamp_granularities[]": "word"}
    ignored = upload(scripted, clip, data=data).headers.get(IGNORED_HEADER)
    effective = form in ("verbose_json", "")
    assert ignored == (None if effective else "timestamp_granularities")


def test_asking_for_segments_is_never_without_effect(scripted: LiveServer, clip: bytes) -> None:
    data = {"response_format": "json", "timestamp_granularities[]": "segment"}
    assert IGNORED_HEADER not in upload(scripted, clip, data=data).headers


@pytest.mark.parametrize("value", ["true", "True", "1", "on", "false", "0", "no"])
def test_booleans_are_spelled_in_many_ways(scripted: LiveServer, clip: bytes, value: str) -> None:
    response = upload(scripted, clip, data={"stream": value})
    streamed = value.lower() in ("true", "1", "on")
    assert response.headers["Content-Type"].startswith("text/event-stream") == streamed


TYPES = {
    "json": "application/json",
    "verbose_json": "application/json",
    "diarized_json": "application/json",
    "text": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
}


@pytest.mark.parametrize("form", TYPES)
def test_each_format_has_its_content_type(scripted: LiveServer, clip: bytes, form: str) -> None:
    response = upload(scripted, clip, data={"response_format": form})
    assert response.headers["Content-Type"].partition(";")[0] == TYPES[form]


@pytest.mark.parametrize("form", TYPES)
def test_several_files_in_each_format(scripted: LiveServer, clips: list[bytes], form: str) -> None:
    fields: Form = {"response_format": form}
    alone = [upload(scripted, clip, data=fields) for clip in clips[:2]]
    results = upload(scripted, *clips[:2], data=fields).json()["results"]
    for number, (one, result) in enumerate(zip(alone, results, strict=True)):
        expected = one.json() if "json" in form else {"text": one.text}
        assert result == {"filename": f"{number}.wav", **expected}


# chunking_strategy

STRATEGIES: list[tuple[Form, int]] = [
    ({}, 1),
    ({VAD: "auto"}, 1),
    ({VAD: '{"type": "server_vad"}'}, 1),
    ({f"{VAD}[type]": "server_vad"}, 1),
    ({f"{VAD}[type]": "server_vad", f"{VAD}[silence_duration_ms]": ""}, 1),
    ({f"{VAD}[type]": "server_vad", f"{VAD}[silence_duration_ms]": "600"}, 2),
    ({VAD: '{"type": "server_vad", "silence_duration_ms": 600, "other": 1}'}, 2),
    ({VAD: "auto", f"{VAD}[type]": "server_vad", f"{VAD}[silence_duration_ms]": "600"}, 2),
]


@pytest.fixture(scope="module")
def paused(snippets: list[Samples]) -> bytes:
    """Two snippets with a pause that is shorter than the engine's own idea of a long one."""
    return wav(snippets[0], silence(1.3), snippets[1])


@pytest.mark.parametrize(("form", "chunks"), STRATEGIES)
def test_chunking_strategy_in_a_form(
    scripted: LiveServer, paused: bytes, gate: Gate, form: Form, chunks: int
) -> None:
    assert upload(scripted, paused, data=form).status_code == 200
    assert gate.arrived == chunks


@pytest.mark.parametrize(
    ("strategy", "chunks"),
    [("auto", 1), ({"type": "server_vad", "silence_duration_ms": 600}, 2), (None, 1)],
)
def test_chunking_strategy_in_json(
    scripted: LiveServer,
    paused: bytes,
    host: AudioHost,
    gate: Gate,
    strategy: object,
    chunks: int,
) -> None:
    url = host.put("/paused", Answer(paused))
    assert ask_url(scripted, url, chunking_strategy=strategy).status_code == 200
    assert gate.arrived == chunks


def test_threshold_and_padding_reach_the_detector(
    scripted: LiveServer, clip: bytes, gate: Gate
) -> None:
    deaf = {"type": "server_vad", "threshold": 0.9999}
    assert upload(scripted, clip, data={VAD: json.dumps(deaf)}).json()["text"] == ""
    assert gate.arrived == 0
    bodies = [
        upload(scripted, clip, data={VAD: json.dumps(knobs)}).json()
        for knobs in (
            {"type": "server_vad", "prefix_padding_ms": 0},
            {"type": "server_vad", "prefix_padding_ms": 1000},
        )
    ]
    tight, wide = (body["words"][0]["start"] for body in bodies)
    assert wide < tight


# model and language


@pytest.mark.parametrize("name", ["scripted", "whisper-1", "", "org/some-model", "sphinx"])
def test_names_and_aliases(small: LiveServer, clip: bytes, text: str, name: str) -> None:
    assert upload(small, clip, data={"model": name}).json()["text"] == text
    with small.client() as client:
        if name:
            card = client.get(f"/v1/models/{name}").json()
            assert card["id"] == name
            assert card["means"] == (None if name == "scripted" else "scripted")


def test_aliases_come_from_the_environment(
    bare: Callable[..., LiveServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_MODEL_ALIASES", '{"large": "absent", "scripted": "absent"}')
    with bare().client() as client:
        for name in ("large", "scripted"):
            card = client.get(f"/v1/models/{name}").json()
            assert (card["id"], card["means"]) == (name, "absent")
    monkeypatch.setenv("REFLECTOR_MODEL_ALIASES", '{"large": "nowhere"}')
    with pytest.raises(ConfigurationError, match="REFLECTOR_MODEL_ALIASES: 'nowhere'"):
        create_app(load_settings())


@pytest.mark.parametrize("language", ["it", "Italian", "tlh", "xx", "*", "é"])
def test_a_language_that_the_model_does_not_know(
    scripted: LiveServer, clip: bytes, language: str
) -> None:
    for response in (
        upload(scripted, clip, data={"language": language}),
        upload(scripted, clip, route=TRANSCRIBE, data={"language": language}),
        ask_url(scripted, "http://127.0.0.1:1/", language=language),
    ):
        error = error_of(response, 400)
        assert (error["code"], error["param"]) == ("unsupported_language", "language")
        assert "de, en, es, fr" in error["message"]


@pytest.mark.parametrize("language", ["auto", "AUTO", "und", " "])
def test_a_language_that_is_to_be_found_out(
    scripted: LiveServer, clip: bytes, language: str
) -> None:
    assert upload(scripted, clip, data={"language": language}).status_code == 200


def test_a_language_is_of_bounded_length(scripted: LiveServer, clip: bytes) -> None:
    error = error_of(upload(scripted, clip, data={"language": "e" * 101}), 400)
    assert error["param"] == "language"


def test_a_model_that_knows_only_english_says_so_without_being_loaded(
    scripted: LiveServer, clip: bytes
) -> None:
    response: httpx.Response = upload(scripted, clip, data={"model": "sphinx", "language": "fr"})
    assert "only supports English" in error_of(response, 400)["message"]
    with scripted.client() as client:
        assert client.get("/v1/models/sphinx").json()["state"] == "not loaded"
