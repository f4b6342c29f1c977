"""Every row of the contract's table of errors, over HTTP, with the same kind of body."""

from __future__ import annotations

import httpx
import pytest

from reflector_gpu.api import upload as upload_module
from reflector_gpu.api.routes import transcription
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    NOBODY,
    TRANSCRIPTIONS,
    UPLOAD_ROUTES,
    ask_url,
    error_of,
    eventually,
    hurry,
    metric,
    running,
    silence,
    upload,
    wav,
)
from tests.live import LiveServer

NOT_AUDIO = [b"", b"hello", b"RIFF" + bytes(100), bytes(5000), b"#EXTM3U\nhttp://127.0.0.1/a.mp3\n"]

BAD_FIELDS = [
    ("temperature", "warm"),
    ("temperature", "-0.1"),
    ("temperature", "1.1"),
    ("temperature", "nan"),
    ("response_format", "yaml"),
    ("response_format", "JSON"),
    ("timestamp_granularities", "letter"),
    ("timestamp_granularities[]", "word,letter"),
    ("stream", "perhaps"),
    ("batch", "perhaps"),
    ("include[]", "everything"),
    ("chunking_strategy", "manual"),
    ("chunking_strategy", '{"type": "server_vad", "threshold": 0}'),
    ("chunking_strategy", '{"type": "client_vad"}'),
    ("chunking_strategy", "{" * 100_000),
    ("chunking_strategy[threshold]", "0.5"),
    ("chunking_strategy[type]", "client_vad"),
    ("model[name]", "scripted"),
]

BAD_JSON = [
    (b"", None),
    (b"audio_file_url=x", None),
    (b"[]", None),
    (b"null", None),
    (b'"text"', None),
    (b"\xff\xfe", None),
    (b"[" * 100_000, None),
    (b'{"audio_file_url": "http://\\ud800/a.wav"}', None),
    (b"{}", "audio_file_url"),
    (b'{"audio_file_url": null}', "audio_file_url"),
    (b'{"audio_file_url": ""}', "audio_file_url"),
    (b'{"audio_file_url": 5}', "audio_file_url"),
    (b'{"audio_file_url": "meeting.mp3"}', "audio_file_url"),
    (b'{"audio_file_url": "http://"}', "audio_file_url"),
    (b'{"audio_file_url": "http://127.0.0.1:99999/a"}', "audio_file_url"),
]

BAD_JSON_FIELDS = [
    ("timestamp_offset", "soon"),
    ("timestamp_offset", 1e308),
    ("timestamp_offset", [1]),
    ("language", 5),
    ("language", ["en"]),
    ("model", {"name": "scripted"}),
    ("temperature", 2),
    ("prompt", 3),
    ("hotwords", [["nested"]]),
    ("hotwords", 0),
    ("known_speaker_names", 4),
    ("known_speaker_references", {}),
    ("batch", "perhaps"),
    ("chunking_strategy", {"type": "server_vad", "silence_duration_ms": -1}),
]

FORBIDDEN = [
    "http://10.0.0.1/a.wav",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/a.wav",
    "http://0x7f.1/a.wav",
    "file:///etc/passwd",
    "ftp://127.0.0.1/a.wav",
]


# 400


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_400_bad_field(scripted: LiveServer, clip: bytes, name: str, value: str) -> None:
    error = error_of(upload(scripted, clip, data={name: value}), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == name.partition("[")[0]
    assert error["message"].startswith(error["param"])


@pytest.mark.parametrize(("body", "param"), BAD_JSON)
def test_400_bad_json(scripted: LiveServer, body: bytes, param: str | None) -> None:
    with scripted.client() as client:
        assert error_of(client.post(FROM_URL, content=body), 400)["param"] == param


def test_a_form_where_json_belongs_is_told_where_files_go(
    scripted: LiveServer, clip: bytes
) -> None:
    with scripted.client() as client:
        error = error_of(client.post(FROM_URL, files={"file": clip}), 400)
    assert "send a JSON object" in error["message"]
    assert TRANSCRIPTIONS in error["message"]


@pytest.mark.parametrize(("name", "value"), BAD_JSON_FIELDS)
def test_400_bad_json_field(scripted: LiveServer, name: str, value: object) -> None:
    assert error_of(ask_url(scripted, NOBODY, **{name: value}), 400)["param"] == name


def test_400_says_which_knob_is_wrong(scripted: LiveServer) -> None:
    strategy = {"type": "server_vad", "threshold": 2}
    error = error_of(ask_url(scripted, NOBODY, chunking_strategy=strategy), 400)
    assert "threshold: Input should be less than 1" in error["message"]


@pytest.mark.usefixtures("translating")
@pytest.mark.parametrize("route", UPLOAD_ROUTES)
@pytest.mark.parametrize("content", NOT_AUDIO)
def test_400_not_audio(scripted: LiveServer, route: str, content: bytes) -> None:
    response = upload(scripted, content, route=route, data={"model": "scripted"})
    error = error_of(response, 400)
    assert (error["code"], error["param"]) == ("undecodable_audio", "file")


def test_400_not_audio_behind_a_url(scripted: LiveServer, host: AudioHost) -> None:
    url = host.put("/page", Answer(b"<html>Log in first</html>"))
    assert error_of(ask_url(scripted, url), 400)["code"] == "undecodable_audio"


@pytest.mark.parametrize("route", UPLOAD_ROUTES)
@pytest.mark.parametrize(
    "sent",
    [
        {"files": {"file": ("", b"")}},  # a browser's form where nothing was chosen
        {"data": {"model": "scripted"}, "files": {"files[]": ("", b"")}},
        {"json": {"file": "a.wav"}},
        {"data": {"file": "a.wav"}},
        {"content": b"RIFF"},
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"junk", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"", "headers": {"Content-Type": f"multipart/form-data; boundary={'x' * 999}"}},
    ],
)
def test_400_no_file(scripted: LiveServer, route: str, sent: dict[str, object]) -> None:
    with scripted.client() as client:
        request = client.build_request("POST", route, **sent)  # type: ignore[arg-type]  # any arguments
        assert error_of(client.send(request), 400)["type"] == "invalid_request_error"


def test_400_form_that_breaks_off(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client() as client:
        whole = client.build_request("POST", TRANSCRIPTIONS, files={"file": clip})
        headers = {"Content-Type": whole.headers["Content-Type"]}
        cut = client.post(TRANSCRIPTIONS, content=whole.read()[:-10], headers=headers)
    assert "boundary" in error_of(cut, 400)["message"]


def test_400_file_under_another_name(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client() as client:
        response = client.post(TRANSCRIPTIONS, files={"audio": ("a.wav", clip)})
    assert error_of(response, 400)["param"] == "audio"


@pytest.mark.usefixtures("translating")
@pytest.mark.parametrize("route", [route for route in UPLOAD_ROUTES if route != TRANSCRIPTIONS])
def test_400_several_files_where_one_is_meant(
    scripted: LiveServer, clip: bytes, route: str
) -> None:
    response = upload(scripted, clip, clip, route=route, data={"model": "scripted"})
    assert error_of(response, 400)["param"] == "file"


def test_400_several_files_streamed(scripted: LiveServer, clip: bytes) -> None:
    response = upload(scripted, clip, clip, data={"stream": "true"})
    assert error_of(response, 400)["param"] == "stream"


# 401 is in test_auth.py


# 403, 404


@pytest.mark.parametrize("url", FORBIDDEN)
def test_403_url_that_the_policy_blocks(scripted: LiveServer, url: str) -> None:
    error = error_of(ask_url(scripted, url), 403)
    assert (error["type"], error["code"]) == ("permission_error", "url_forbidden")
    assert error["param"] == "audio_file_url"


def test_404_audio_that_is_not_there(scripted: LiveServer, host: AudioHost) -> None:
    error = error_of(ask_url(scripted, host.put("/gone", Answer(status=404))), 404)
    assert (error["code"], error["param"]) == ("audio_not_found", "audio_file_url")


@pytest.mark.parametrize("name", ["whisper-9", "org/whisper", "SCRIPT", "scripted x", "é\n"])
def test_404_unknown_model(scripted: LiveServer, clip: bytes, name: str) -> None:
    answers = [upload(scripted, clip, route=route, data={"model": name}) for route in UPLOAD_ROUTES]
    answers.append(ask_url(scripted, NOBODY, model=name))
    with scripted.client() as client:
        answers.append(client.get(f"/v1/models/{name.strip()}x"))
    for answer in answers:
        error = error_of(answer, 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        installed = error["message"].split("Installed: ")[1].split(". All that are known: ")[0]
        assert {"scripted", "sphinx"} <= set(installed.split(", "))


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/scripted"])
def test_models_answer_to_head(scripted: LiveServer, path: str) -> None:
    with scripted.client() as client:
        asked, told = client.head(path), client.get(path)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["Content-Type"] == told.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/nope", "/v1/audio", "/v1/audio/speech", "/health/dead"])
def test_404_unknown_path(scripted: LiveServer, path: str) -> None:
    with scripted.client() as client:
        error = error_of(client.get(path), 404)
    assert error["type"] == "not_found_error"
    assert f"no {path} here" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", TRANSCRIPTIONS, ["POST"]),
        ("PUT", FROM_URL, ["POST"]),
        ("DELETE", "/v1/models", ["GET", "HEAD"]),
        ("PUT", "/v1/jobs", ["GET", "POST"]),
        ("PUT", "/v1/jobs/some", ["DELETE", "GET"]),
    ],
)
def test_405_wrong_method(scripted: LiveServer, method: str, path: str, allowed: list[str]) -> None:
    with scripted.client() as client:
        response = client.request(method, path)
    message = error_of(response, 405)["message"]
    assert response.headers["Allow"] == ", ".join(allowed)
    assert f"{path} does not take {method}; send {' or '.join(allowed)}." == message


# 413


def test_413_upload_over_the_limit(small: LiveServer) -> None:
    error = error_of(upload(small, bytes(600_000)), 413)
    assert (error["code"], error["param"]) == ("too_large", "file")


@pytest.mark.parametrize("length", ["600000", ""], ids=["announced", "unannounced"])
def test_413_download_over_the_limit(small: LiveServer, host: AudioHost, length: str) -> None:
    url = host.put("/large", Answer(bytes(600_000), headers={"Content-Length": length}))
    error = error_of(ask_url(small, url), 413)
    assert error["param"] == "audio_file_url"
    assert "0.5 MB" in error["message"]


def test_413_audio_longer_than_the_limit(small: LiveServer, host: AudioHost) -> None:
    long = wav(silence(12))
    for answer in (
        upload(small, long),
        upload(small, long, data={"stream": "true"}),
        ask_url(small, host.put("/long", Answer(long))),
    ):
        assert "10 seconds" in error_of(answer, 413)["message"]


def test_413_too_many_files(small: LiveServer, clip: bytes) -> None:
    assert upload(small, *[clip] * 3).status_code == 200
    assert error_of(upload(small, *[clip] * 4), 413)["param"] == "files"


def test_413_fields_over_the_limit(
    scripted: LiveServer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_module, "_MAX_FIELD_BYTES", 1000)
    monkeypatch.setattr(transcription, "MAX_JSON_BYTES", 1000)
    assert error_of(upload(scripted, clip, data={"prompt": "x" * 1001}), 413)["param"] == "prompt"
    error_of(ask_url(scripted, NOBODY, prompt="x" * 1000), 413)


# 429 and 503 are in tests/api/availability


# 502, 504


@pytest.mark.parametrize("status", [401, 403, 418, 500, 503])
def test_502_host_that_fails(small: LiveServer, host: AudioHost, status: int) -> None:
    error = error_of(ask_url(small, host.put("/fails", Answer(status=status))), 502)
    assert (error["type"], error["code"]) == ("server_error", "upstream_failed")
    assert str(status) in error["message"]


def test_502_host_that_is_not_there_or_breaks_off(
    small: LiveServer, host: AudioHost, clip: bytes
) -> None:
    broken = host.put("/broken.wav", Answer(clip, cut_at=len(clip) // 2))
    for url in (NOBODY, broken):
        assert error_of(ask_url(small, url), 502)["param"] == "audio_file_url"


@pytest.mark.parametrize("after", [0, 40_000])
def test_504_host_that_stalls(
    small: LiveServer,
    host: AudioHost,
    clip: bytes,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    hurry(small.service.recordings._fetcher, monkeypatch)
    stalls = Answer(clip, pause_at=after)
    error = error_of(ask_url(small, host.put("/stalls.wav", stalls)), 504)
    assert (error["type"], error["code"]) == ("server_error", "upstream_timeout")
    assert eventually(stalls.abandoned.is_set)


# A bug of ours


def test_a_bug_has_the_shape_and_tells_nothing(
    scripted: LiveServer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    line = f'reflector_requests_total{{method="POST",route="{TRANSCRIPTIONS}",status="500"}}'
    before = metric(scripted, line)
    with monkeypatch.context() as patch:
        patch.setattr(scripted.service, "request", fail)
        response = upload(scripted, clip)
    assert "secret" not in error_of(response, 500)["message"]
    assert metric(scripted, line) == before + 1
    assert running(scripted, "live") == 0


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Hello", "messages.0: Input should be an object"),
        ({"role": "user"}, "messages.0: 'content' is missing"),
        (None, "messages: List should have at least 1 item, not 0"),
    ],
)
def test_400_says_what_is_wrong_in_the_words_of_the_api(
    scripted: LiveServer, message: object, said: str
) -> None:
    with scripted.client() as client:
        messages = [message] if message else []
        answer = client.post("/v1/chat/completions", json={"messages": messages})
    assert error_of(answer, 400)["message"] == said


def test_400_says_that_there_is_no_number(scripted: LiveServer, clip: bytes) -> None:
    error = error_of(upload(scripted, clip, data={"temperature": "nan"}), 400)
    assert error["message"] == "temperature: Input should be a number, and 'nan' is none"


@pytest.mark.parametrize("route", ["/pad", FROM_URL, TRANSCRIPTIONS])
def test_400_says_that_the_body_is_empty(scripted: LiveServer, route: str) -> None:
    with scripted.client() as client:
        answer = client.post(route, headers={"Content-Type": "application/json"})
    assert error_of(answer, 400)["message"] == (
        "The body is empty; send a JSON object with the fields."
    )


def test_the_icon_needs_no_key() -> None:
    with LiveServer(model="scripted", apikey="secret") as server:
        icon = httpx.get(f"{server.url}/favicon.ico", trust_env=False)
    assert (icon.status_code, icon.headers["Content-Type"]) == (200, "image/svg+xml")
