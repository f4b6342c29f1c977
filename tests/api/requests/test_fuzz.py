"""Nothing a client can send gets a 500."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.support import (
    FROM_URL,
    NOBODY,
    TRANSCRIPTIONS,
    UPLOAD_ROUTES,
    error_of,
    tells_nothing,
)
from tests.live import LiveServer

STATUSES = {200, 400, 401, 403, 404, 405, 413, 429, 502, 503, 504}
"""Everything in the contract."""

quickly = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

NAMES = [
    "model",
    "language",
    "prompt",
    "hotwords",
    "temperature",
    "response_format",
    "timestamp_granularities",
    "stream",
    "batch",
    "include",
    "chunking_strategy",
    "known_speaker_names",
    "known_speaker_references",
    "timestamp_offset",
    "audio_file_url",
    "file",
]
VALUES = [
    "",
    "true",
    "0",
    "-1",
    "1e999",
    "nan",
    "auto",
    "word",
    "srt",
    "verbose_json",
    "diarized_json",
    "logprobs",
    "whisper-1",
    "server_vad",
    '{"type": "server_vad", "threshold": 0.3}',
    "{",
    "null",
    "\x00",
    "\ud7ff\U0010ffff",
]

# Errors repeat what was sent, and Hypothesis likes to send what it has read in our code.
texts = st.sampled_from(VALUES) | st.text(max_size=20).filter(tells_nothing)
suffixes = st.sampled_from(["", "[]", "[type]", "[threshold]", "[0]", "[", "]", "[][]", "\n"])
names = st.builds(lambda name, suffix: name + suffix, st.sampled_from(NAMES), suffixes) | texts
blobs = st.binary(max_size=200)
pieces = st.lists(st.sampled_from([b"--x", b"--", b"\r\n", b": ", b'"', b"x"]))
visible = st.integers(0x21, 0xFF).filter(lambda byte: byte != 0x7F)
parts = st.tuples(names, st.none() | texts, texts.map(str.encode) | blobs)


def post(server: LiveServer, path: str, body: bytes, content_type: str) -> httpx.Response:
    with server.client() as client:
        headers = {b"Content-Type": content_type.encode()}
        return client.post(path, content=body, headers=headers)


def check(response: httpx.Response) -> None:
    assert response.status_code in STATUSES, response.text
    if response.status_code != 200:
        error_of(response, response.status_code)


def form(parts: Sequence[tuple[str, str | None, bytes]]) -> bytes:
    """A multipart body as a careless client writes it: nothing is escaped but line ends."""
    body = b""
    for name, filename, content in parts:
        label = f'form-data; name="{name}"'
        label += "" if filename is None else f'; filename="{filename}"'
        header = f"Content-Disposition: {label}".encode().replace(b"\r", b"").replace(b"\n", b"")
        body += b"--x\r\n" + header + b"\r\n\r\n" + content + b"\r\n"
    return body + b"--x--\r\n"


@quickly
@given(route=st.sampled_from(UPLOAD_ROUTES), sent=st.lists(parts, max_size=6), audio=st.booleans())
def test_any_form(
    scripted: LiveServer,
    quiet: bytes,
    route: str,
    sent: list[tuple[str, str | None, bytes]],
    audio: bool,
) -> None:
    if audio:
        sent = [*sent, ("file", "a.wav", quiet)]
    check(post(scripted, route, form(sent), "multipart/form-data; boundary=x"))


@quickly
@given(
    body=blobs | pieces.map(b"".join),
    content_type=st.sampled_from(
        [
            "multipart/form-data; boundary=x",
            'multipart/form-data; boundary="x"',
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary*=utf-8''x",
            "application/json",
            "",
        ]
    )
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    path=st.sampled_from([*UPLOAD_ROUTES, FROM_URL]),
)
def test_any_body(scripted: LiveServer, path: str, body: bytes, content_type: str) -> None:
    check(post(scripted, path, body, content_type))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(10**20), "\ud800", *VALUES])
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
urls = st.just(NOBODY) | st.builds(
    lambda start, rest: start + rest,
    st.sampled_from(["http://", "https://", "http://127.0.0.1:1/", "http://[", "//", "", "file:"]),
    st.text(max_size=15).filter(lambda text: not text[:1].isalnum()),
)


@quickly
@given(url=urls | json_values, fields=st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_json(small: LiveServer, url: object, fields: dict[str, Any]) -> None:
    body = json.dumps({**fields, "audio_file_url": url}).encode()
    check(post(small, FROM_URL, body, "application/json"))


@quickly
@given(fields=st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, json_values)))
def test_any_json_for_audio_that_is_there(
    scripted: LiveServer, quiet_url: str, fields: dict[str, Any]
) -> None:
    body = json.dumps({**fields, "audio_file_url": quiet_url}).encode()
    check(post(scripted, FROM_URL, body, "application/json"))


@quickly
@given(
    header=st.lists(visible, min_size=1).map(bytes),
    path=st.sampled_from([TRANSCRIPTIONS, "/v1/models", "/metrics"]),
)
def test_any_authorization(scripted: LiveServer, header: bytes, path: str) -> None:
    with scripted.client(key=None) as client:
        response = client.get(path, headers={b"Authorization": b"Bearer " + header})
    error_of(response, 401)


@quickly
@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
        tells_nothing
    )
)
def test_any_model_name(scripted: LiveServer, name: str) -> None:
    with scripted.client() as client:
        url = httpx.URL(scripted.url).copy_with(
            raw_path=b"/v1/models/" + b"".join(b"%%%02X" % byte for byte in name.encode())
        )
        check(client.get(url))
