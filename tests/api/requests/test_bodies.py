"""Recordings that are the whole body of a request, or base64 in its JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.api.accepted_fields import IGNORED_HEADER
from reflector_gpu.api.bodies import read_json, read_raw
from reflector_gpu.api.upload import Form
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, ReflectorError, TooLarge
from tests.api.support import (
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    Gate,
    error_of,
    upload,
)
from tests.live import KEY, LiveServer

RAW_TYPES = [
    "audio/wav",
    "audio/x-wav",
    "AUDIO/MPEG",
    "audio/webm;codecs=opus",
    "video/mp4",
    "application/octet-stream",
    "application/ogg",
]


def base64_of(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def input_audio(audio: bytes, **fields: object) -> dict[str, Any]:
    return {"input_audio": {"data": base64_of(audio), "format": "wav"}, **fields}


# The recording is the body


@pytest.mark.parametrize("content_type", RAW_TYPES)
def test_a_recording_as_the_body(
    scripted: LiveServer, clip: bytes, text: str, content_type: str
) -> None:
    with scripted.client() as client:
        response = client.post(TRANSCRIPTIONS, content=clip, headers={"Content-Type": content_type})
    body = response.raise_for_status().json()
    assert body["text"] == text
    assert body["filename"] == "audio"


def test_its_fields_are_in_the_query(scripted: LiveServer, clip: bytes, gate: Gate) -> None:
    with scripted.client() as client:
        response = client.post(
            TRANSCRIPTIONS,
            content=clip,
            headers={"Content-Type": "audio/wav"},
            params={"language": "fr", "response_format": "srt", "hotwords": ["Anna", "Ben"]},
        )
    assert response.headers["Content-Type"].startswith("application/x-subrip")
    (options,) = gate.options
    assert (options.language, options.hotwords) == ("fr", ("Anna", "Ben"))


def test_a_recording_as_the_body_streams(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client() as client:
        response = client.post(
            TRANSCRIPTIONS,
            content=clip,
            headers={"Content-Type": "audio/wav"},
            params={"stream": "true"},
        )
    assert response.headers["Content-Type"].startswith("text/event-stream")


@pytest.mark.parametrize("route", [TRANSCRIBE, "/diarize", "/v1/audio/diarization"])
def test_other_routes_take_it_too(scripted: LiveServer, clip: bytes, route: str) -> None:
    with scripted.client() as client:
        response = client.post(route, content=clip, headers={"Content-Type": "audio/wav"})
        assert response.status_code == 200
        assert client.post(route, json=input_audio(clip)).json() == response.json()


def test_curl(scripted: LiveServer, clip: bytes, text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(clip)
    headers = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: audio/wav"]
    url = f"{scripted.url}{TRANSCRIPTIONS}?response_format=text"
    done = subprocess.run(
        ["curl", "-sS", *headers, "--data-binary", f"@{file}", url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{text}\n"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_a_body_that_says_nothing_about_itself(
    scripted: LiveServer, clip: bytes, content_type: str
) -> None:
    """As curl sends it, if it is not told."""
    with scripted.client() as client:
        response = client.post(TRANSCRIPTIONS, content=clip, headers={"Content-Type": content_type})
    assert "audio/wav" in error_of(response, 400)["message"]


def test_a_body_that_is_no_recording(scripted: LiveServer) -> None:
    with scripted.client() as client:
        for content in (b"", b"nothing"):
            response = client.post(
                TRANSCRIPTIONS, content=content, headers={"Content-Type": "audio/wav"}
            )
            error_of(response, 400)


def test_a_recording_over_the_limit(small: LiveServer, clip: bytes) -> None:
    with small.client() as client:
        raw = client.post(TRANSCRIPTIONS, content=clip * 20, headers={"Content-Type": "audio/wav"})
        error_of(raw, 413)
        error_of(client.post(TRANSCRIPTIONS, json=input_audio(clip * 20)), 413)


# The recording is in the JSON


def test_a_recording_in_json_as_openrouters_clients_send_it(
    scripted: LiveServer, clip: bytes, text: str
) -> None:
    with scripted.client() as client:
        body = client.post(TRANSCRIPTIONS, json=input_audio(clip, model="whisper-1")).json()
    assert body["text"] == text
    assert body["filename"] == "audio.wav"


def test_the_other_fields_are_beside_it(scripted: LiveServer, clip: bytes, gate: Gate) -> None:
    fields = {
        "language": "fr",
        "temperature": 0.5,
        "response_format": "verbose_json",
        "timestamp_granularities": ["word"],
        "provider": {"options": {}},
    }
    with scripted.client() as client:
        response = client.post(TRANSCRIPTIONS, json={**fields, **input_audio(clip)})
    assert response.headers[IGNORED_HEADER] == "provider"
    assert response.json().keys() >= {"words", "language"}
    (options,) = gate.options
    assert (options.language, options.temperature) == ("fr", 0.5)


def test_misspelled_fields_beside_it(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client() as client:
        response = client.post(TRANSCRIPTIONS, json=input_audio(clip, langauge="fr"))
    assert error_of(response, 400)["param"] == "langauge"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input_audio": {}},
        {"input_audio": "UklGRg=="},
        {"input_audio": {"data": None}},
        {"input_audio": [{"data": "UklGRg=="}]},
        {"data": "UklGRg=="},
        {"audio_file_url": "http://127.0.0.1:1/"},
    ],
)
def test_json_without_a_recording(scripted: LiveServer, body: object) -> None:
    with scripted.client() as client:
        error = error_of(client.post(TRANSCRIPTIONS, json=body), 400)
    assert error["param"] == "input_audio"
    assert "transcriptions-from-url" in error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"}}}", b"]", b'{"input_audio":{"data":"']
)
def test_what_is_no_json(scripted: LiveServer, body: bytes) -> None:
    with scripted.client() as client:
        response = client.post(
            TRANSCRIPTIONS, content=body, headers={"Content-Type": "application/json"}
        )
    assert "JSON" in error_of(response, 400)["message"]


@pytest.mark.parametrize("data", ["A", "A===", "AA=A", "====", "Ä", "AAAA=AAA", "data:audio/wav"])
def test_broken_base64(scripted: LiveServer, data: str) -> None:
    with scripted.client() as client:
        response = client.post(TRANSCRIPTIONS, json={"input_audio": {"data": data}})
    assert error_of(response, 400)["param"] == "input_audio.data"


def test_the_same_answers_as_an_upload(
    scripted: LiveServer, clip: bytes, translating: None
) -> None:
    fields = {"response_format": "verbose_json", "model": "scripted"}
    for route in (TRANSCRIPTIONS, TRANSLATIONS):
        with scripted.client() as client:
            answer = client.post(route, json=input_audio(clip, **fields))
        assert answer.status_code == upload(scripted, clip, route=route, data=fields).status_code
        assert answer.json() == upload(scripted, clip, route=route, data=fields).json()


# Piece by piece


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes, size: int, limit: int = 10**6) -> Form:
    return asyncio.run(read_json(pieces(data, size), lambda: Spool(limit)))


def spelled(text: str, how: str) -> str:
    """``text`` as a JSON string, as various writers spell it."""
    match how:
        case "escaped slashes":
            return json.dumps(text).replace("/", r"\/")
        case "unicode escapes":
            escaped = json.dumps(text).replace("+", r"\u002B").replace("/", r"\u002f")
            return escaped.replace("=", r"\u003D")
        case "lines":
            return json.dumps("\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)))
        case "URL alphabet":
            return json.dumps(text.replace("+", "-").replace("/", "_"))
        case "no padding":
            return json.dumps(text.rstrip("="))
        case "data URL":
            return json.dumps(f"data:audio/wav;base64,{text}")
    return json.dumps(text)


HOW = ["escaped slashes", "unicode escapes", "lines", "URL alphabet", "no padding", "data URL", ""]


@given(
    audio=st.binary(max_size=1000),
    how=st.sampled_from(HOW),
    size=st.integers(1, 200),
    prompt=st.text(max_size=20),
    first=st.booleans(),
)
def test_any_writer_of_json_and_any_pieces(
    audio: bytes, how: str, size: int, prompt: str, first: bool
) -> None:
    recording = f'"input_audio": {{"format": "mp3", "data": {spelled(base64_of(audio), how)}}}'
    others = f'"data": "x", "prompt": {json.dumps(prompt)}, "l": [{{"input_audio": "\\"y\\\\"}}, 1]'
    parts = [recording, others] if first else [others, recording]
    form = read(("{" + ", ".join(parts) + "}").encode(), size)
    with form:
        (found,) = form.files
        assert found.filename == "audio.mp3"
        assert found.spool.complete
        assert (found.spool.read_at(0, 10**6) if audio else b"") == audio
    assert form.values == {"data": "x", "prompt": prompt, "l": [{"input_audio": '"y\\'}, 1]}


@given(st.binary(max_size=300), st.integers(1, 50))
def test_anything_else_is_an_error_of_ours(junk: bytes, size: int) -> None:
    for data in (junk, b'{"input_audio":{"data":"' + junk, b'{"input_audio":' + junk + b"}"):
        try:
            with read(data, size):
                pass
        except InvalidRequest:
            pass


def test_a_recording_that_is_there_twice() -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        read(b'{"input_audio": {"data": "AAAA", "data": "AAAA"}}', 7)


def test_nothing_stays_open_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Spool] = []

    def spool() -> Spool:
        made.append(Spool(1000))
        return made[-1]

    async def go(data: bytes) -> None:
        with pytest.raises(ReflectorError):
            await read_json(pieces(data, 100), spool)
        with pytest.raises(TooLarge):
            await read_raw(pieces(b"x" * 2000, 100), spool)

    for data in (b"{", json.dumps(input_audio(bytes(2000))).encode()):
        asyncio.run(go(data))
    assert [one.closed for one in made] == [True] * 4


def test_json_that_grows_without_a_recording_has_an_end() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1_000_000

    with pytest.raises(TooLarge):
        asyncio.run(read_json(endless(), lambda: Spool(1000)))


@pytest.mark.parametrize("text", [b"[", b",", b'"":', b"{"])
def test_json_of_nothing_but_punctuation_ends_early(text: bytes) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield text * (10_000 // len(text))

    with pytest.raises(TooLarge):
        asyncio.run(read_json(body(), lambda: Spool(1000)))
    assert sent <= 20
