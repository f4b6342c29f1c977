"""Names that a route does not know, through the door: what the client is told."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Mapping

import httpx
import pytest

from reflector_gpu.api.accepted_fields import IGNORED_HEADER
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    NOBODY,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    UPLOAD_ROUTES,
    Gate,
    ask_url,
    error_of,
    eventually,
    upload,
)
from tests.live import LiveServer


def send(
    server: LiveServer, route: str, clip: bytes, fields: Mapping[str, object]
) -> httpx.Response:
    """``fields`` to ``route``, in the way that it reads them."""
    with server.client() as client:
        if route == FROM_URL:
            return client.post(route, json={"audio_file_url": NOBODY, **fields})
        if route in ("/llm", "/v1/chat/completions"):
            return client.post(route, json=fields)
        if route == "/translate":
            return client.post(route, params={"text": "x"}, json=fields)
        files = {"file": ("a.wav", clip)}
        return client.post(route, files=files, data={k: str(v) for k, v in fields.items()})


@pytest.mark.parametrize(
    ("route", "wrong", "meant"),
    [
        (TRANSCRIPTIONS, "respones_format", "response_format"),
        (TRANSCRIPTIONS, "max_speaker", "max_speakers"),
        (TRANSCRIPTIONS, "timestamp_granularity[]", "timestamp_granularities"),
        (TRANSCRIPTIONS, "chunking_strateg[type]", "chunking_strategy"),
        (TRANSLATIONS, "modle", "model"),
        (TRANSCRIBE, "lang_uage", "language"),
        ("/diarize", "timestmap", "timestamp"),
        ("/diarize", "max_speaker", "max_speakers"),
        (FROM_URL, "timestamp_ofset", "timestamp_offset"),
        ("/translate", "target_langauge", "target_language"),
        ("/llm", "max_token", "max_tokens"),
        ("/v1/chat/completions", "mesages", "messages"),
    ],
)
def test_the_error_about_a_misspelled_field_has_the_right_name(
    scripted: LiveServer, clip: bytes, route: str, wrong: str, meant: str
) -> None:
    error = error_of(send(scripted, route, clip, {wrong: "x"}), 400)
    name = wrong.partition("[")[0]
    assert error["message"] == f"'{name}' is not a field; did you mean '{meant}'?"
    assert error["param"] == name


@pytest.mark.parametrize("route", [*UPLOAD_ROUTES, "/diarize"])
def test_a_misspelled_query_parameter(scripted: LiveServer, clip: bytes, route: str) -> None:
    wrong = "min_speeker" if route == "/diarize" else "prompts"
    with scripted.client() as client:
        response = client.post(route, params={wrong: "x"}, files={"file": ("a.wav", clip)})
    assert "did you mean" in error_of(response, 400)["message"]


def test_a_misspelled_query_parameter_of_a_translation(scripted: LiveServer) -> None:
    with scripted.client() as client:
        response = client.post("/translate", params={"text": "x", "targetlanguage": "fr"})
    assert "did you mean 'target_language'?" in error_of(response, 400)["message"]


def test_fields_in_the_query_count_and_those_of_the_form_more(
    scripted: LiveServer, clip: bytes, gate: Gate
) -> None:
    with scripted.client() as client:
        client.post(
            TRANSCRIPTIONS,
            params={"language": "de", "prompt": "Minutes"},
            files={"file": ("a.wav", clip)},
            data={"language": "fr"},
        ).raise_for_status()
    assert [(one.language, one.prompt) for one in gate.options] == [("fr", "Minutes")]


@pytest.mark.parametrize(
    ("route", "name", "value", "advice"),
    [
        (TRANSCRIPTIONS, "task", "translate", "/v1/audio/translations"),
        (TRANSCRIPTIONS, "translate", "true", "/v1/audio/translations"),
        (TRANSCRIPTIONS, "timestamp_offset", "3", "/v1/audio/transcriptions-from-url"),
        (TRANSLATIONS, "audio_file_url", NOBODY, "/v1/audio/transcriptions-from-url"),
        (TRANSCRIBE, "target_language", "fr", "'translate_to'"),
        (FROM_URL, "timestamp", 3, "'timestamp_offset'"),
        (FROM_URL, "file", "a.wav", "/v1/audio/transcriptions"),
        (FROM_URL, "url", NOBODY, "'audio_file_url'"),
        ("/diarize", "url", NOBODY, "'audio_file_url'"),
        ("/diarize", "timestamp_offset", "3", "'timestamp'"),
        ("/translate", "language", "en", "'source_language'"),
        ("/llm", "stream", True, "/v1/chat/completions"),
        ("/v1/chat/completions", "prompt", "Hello", "'messages'"),
    ],
)
def test_the_error_about_a_field_of_another_route_says_where_it_belongs(
    scripted: LiveServer, clip: bytes, route: str, name: str, value: object, advice: str
) -> None:
    error = error_of(send(scripted, route, clip, {name: value}), 400)
    assert error["param"] == name
    assert advice in error["message"]


@pytest.mark.parametrize("field", [{"task": "transcribe"}, {"translate": "false"}])
def test_a_field_of_another_route_that_asks_for_nothing_is_ignored(
    scripted: LiveServer, clip: bytes, field: dict[str, str | list[str]]
) -> None:
    response = upload(scripted, clip, data=field)
    assert response.status_code == 200
    assert response.headers[IGNORED_HEADER] == next(iter(field))


def test_other_unknown_fields_are_named_in_the_answer_and_the_log(
    scripted: LiveServer, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflector_gpu.access")
    data: dict[str, str | list[str]] = {"user": "u", "vad_filter": "true", "beam_size": "5"}
    response = upload(scripted, clip, data={**data, "model": "scripted"})
    assert response.status_code == 200
    assert response.headers[IGNORED_HEADER] == "user,vad_filter,beam_size"
    eventually(lambda: "ignored=user,vad_filter,beam_size" in caplog.text)  # it comes last
    assert IGNORED_HEADER not in upload(scripted, clip, data={"model": "scripted"}).headers


def test_streams_name_the_fields_they_ignore(scripted: LiveServer, clip: bytes) -> None:
    response = upload(scripted, clip, data={"stream": "true", "user": "u"})
    assert response.headers[IGNORED_HEADER] == "user"


def test_fields_that_change_nothing_on_a_route_are_named(scripted: LiveServer, clip: bytes) -> None:
    data: dict[str, str | list[str]] = {"response_format": "srt", "stream": "true"}
    response = upload(scripted, clip, route=TRANSCRIBE, data=data)
    assert response.headers[IGNORED_HEADER] == "response_format,stream"
    assert response.json().keys() == {"text", "words"}


@pytest.mark.parametrize(
    "name", ["x\r\nX-Injected: 1", "é" * 10, "a,b", "x" * 500, "\x00", " ", "[", "a[b][c]"]
)
def test_any_name_can_be_reported(scripted: LiveServer, clip: bytes, name: str) -> None:
    response = upload(scripted, clip, data={name: "x"})
    assert response.status_code == 200
    assert len(response.headers[IGNORED_HEADER]) <= 60
    assert "X-Injected" not in response.headers


def test_no_more_than_a_screenful_is_reported(scripted: LiveServer, clip: bytes) -> None:
    response = upload(scripted, clip, data={f"field_{n}": "x" for n in range(900)})
    names = response.headers[IGNORED_HEADER].split(",")
    assert names[0] == "field_0"
    assert (len(names), names[-1]) == (21, "+880")


@pytest.fixture(scope="module")
def strict() -> Iterator[LiveServer]:
    with LiveServer(model="scripted", strict=True, url_allow="127.0.0.1") as server:
        yield server


def test_a_strict_server_refuses_what_has_no_effect(
    strict: LiveServer, clip: bytes, host: AudioHost
) -> None:
    known: dict[str, str | list[str]] = {"model": "scripted", "batch": "true"}
    assert upload(strict, clip, data=known).status_code == 200
    error = error_of(upload(strict, clip, data={**known, "user": "u", "beam_size": "5"}), 400)
    assert error["param"] == "user"
    assert "user,beam_size" in error["message"]
    url = host.put("/a", Answer(clip))
    assert ask_url(strict, url, language="en", batch=True).status_code == 200
    error_of(ask_url(strict, url, never_heard_of=None), 400)
    error_of(upload(strict, clip, route=TRANSCRIBE, data={"stream": "true"}), 400)


# Objects inside


@pytest.mark.parametrize(
    "form",
    [
        {"chunking_strategy[type]": "server_vad", "chunking_strategy[treshold]": "0.5"},
        {"chunking_strategy": '{"type": "server_vad", "treshold": 0.5}'},
    ],
)
def test_a_misspelled_key_of_an_object(
    scripted: LiveServer, clip: bytes, form: dict[str, str | list[str]]
) -> None:
    error = error_of(upload(scripted, clip, data=form), 400)
    assert error["message"] == (
        "'chunking_strategy.treshold' is not a field; did you mean 'threshold'?"
    )


def test_a_misspelled_key_of_a_message(scripted: LiveServer) -> None:
    messages = [{"role": "user", "content": "Hello", "name": "Ann"}, {"role": "user", "contnet": 1}]
    with scripted.client() as client:
        response = client.post("/v1/chat/completions", json={"messages": messages})
    assert error_of(response, 400)["param"] == "messages.contnet"


# Ways to write a field


@pytest.mark.parametrize(
    "form",
    [
        {"timestamp_granularities[0]": "word", "timestamp_granularities[1]": "segment"},
        {"timestamp_granularities": '["word", "segment"]'},
        {"timestamp_granularities[]": ' ["word","segment"]'},
        {"timestamp_granularities": " [word, segment]"},
        {"timestamp_granularities[word]": "word", "timestamp_granularities[segment]": "segment"},
    ],
)
def test_lists_are_written_in_many_ways(
    scripted: LiveServer, clip: bytes, form: dict[str, str | list[str]]
) -> None:
    body = upload(scripted, clip, data={"response_format": "verbose_json", **form}).json()
    assert body.keys() >= {"words", "segments"}


@pytest.mark.parametrize("filename", [None, "blob"])
def test_parts_of_a_form_that_are_declared_as_json(
    scripted: LiveServer, clip: bytes, filename: str | None
) -> None:
    """As Java and browser clients send them, the latter with a file name."""
    sent = {
        "response_format": "verbose_json",
        "timestamp_granularities": ["word"],
        "stream": False,
        "prompt": None,
        "chunking_strategy": {"type": "server_vad", "threshold": 0.4},
    }
    parts: list[tuple[str, tuple[str | None, io.BytesIO | bytes, str]]] = [
        (name, (filename, json.dumps(value).encode(), "application/json"))
        for name, value in sent.items()
    ]
    with scripted.client() as client:
        files = [("file", ("a.wav", clip, "audio/wav")), *parts]
        body = client.post(TRANSCRIPTIONS, files=files).raise_for_status().json()
    assert body["words"]
    assert "segments" not in body


def test_white_space_around_a_url(
    scripted: LiveServer, clip: bytes, text: str, host: AudioHost
) -> None:
    assert ask_url(scripted, f" {host.put('/a', Answer(clip))}\n").json()["text"] == text
    error_of(ask_url(scripted, "  "), 400)
