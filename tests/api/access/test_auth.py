"""Authentication, as the contract's section Auth has it."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from reflector_gpu.api import access
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import load_settings, origins
from tests.api.conftest import OTHER_KEY
from tests.api.support import (
    FROM_URL,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    bare_server,
    error_of,
    eventually,
    send_raw,
    send_target,
)
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]
SECRET = "s3cret-and-long"

GUARDED = [
    ("POST", TRANSCRIPTIONS),
    ("POST", FROM_URL),
    ("POST", TRANSLATIONS),
    ("POST", TRANSCRIBE),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/scripted"),
    ("GET", "/metrics"),
    ("GET", "/health/"),
    ("GET", "/health/live/"),
    ("GET", "/health/live%2F..%2F..%2Fmetrics"),
    ("GET", "/HEALTH/LIVE"),
    ("GET", "/health;x"),
    ("GET", "/no/such/path"),
]


def ask(server: LiveServer, path: str, header: str | bytes | None, method: str = "GET") -> int:
    headers = {} if header is None else {b"Authorization": _bytes(header)}
    with server.client(key=None) as client:
        return client.request(method, path, headers=headers).status_code


def _bytes(header: str | bytes) -> bytes:
    return header.encode() if isinstance(header, str) else header


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_everything_but_health_needs_the_key(scripted: LiveServer, method: str, path: str) -> None:
    with scripted.client(key=None) as client:
        missing = client.request(method, path)
        wrong = client.request(method, path, headers={"Authorization": "Bearer wrong"})
    for response in (missing, wrong):
        error = error_of(response, 401)
        assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY} {KEY}",
        f"Bearer{KEY}",
        f"Basic {KEY}",
        f"Token {KEY}",
        KEY,
        b"Bearer \xff\xfe",
    ],
)
def test_what_is_not_the_key_is_refused(scripted: LiveServer, header: str | bytes) -> None:
    assert ask(scripted, "/v1/models", header) == 401


@pytest.mark.parametrize(
    "target",
    [
        "//health/live",
        "///health/live",
        "/./health/live",
        "/health/../metrics",
        "/health/live/../../metrics",
        "/health/live%00",
        "/health%20",
        "/docs/../v1/models",
        "http://x/v1/models",
        "/v1/models?/health",
        "/v1/models#/health",
    ],
)
def test_no_way_to_write_a_path_opens_it(scripted: LiveServer, target: str) -> None:
    assert send_target(scripted, target).startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 "))


OTHER_HEADERS = ["api-key", "X-API-Key", "x-api-key", "API-KEY"]


@pytest.mark.parametrize("name", OTHER_HEADERS)
@pytest.mark.parametrize(
    ("value", "status"),
    [
        (KEY.encode(), 200),
        (b"Bearer " + KEY.encode(), 401),
        (KEY.encode() + b"\xff", 401),
        (b"\xff\xfe", 401),
        ("клю́ч".encode(), 401),
        (b"", 401),
    ],
)
def test_the_key_may_be_in_a_header_of_its_own(
    scripted: LiveServer, name: str, value: bytes, status: int
) -> None:
    with scripted.client(key=None) as client:
        answer = client.get("/v1/models", headers={name.encode(): value})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Basic dTpw"), ("api-key", KEY)],
        [("Authorization", "Bearer wrong"), ("X-API-Key", KEY)],
        [("Authorization", f"Bearer {KEY}"), ("api-key", "")],
        [("api-key", "wrong"), ("api-key", KEY)],
    ],
)
def test_one_right_key_among_several_is_enough(
    scripted: LiveServer, headers: list[tuple[str, str]]
) -> None:
    """A gateway may add its own credentials to those of its client, or the other way round."""
    with scripted.client(key=None) as client:
        assert client.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_compared_without_case(scripted: LiveServer, scheme: str) -> None:
    assert ask(scripted, "/v1/models", f"{scheme} {KEY}") == 200


@pytest.mark.parametrize(
    ("key", "status"), [(KEY, 200), (OTHER_KEY, 200), (f"{OTHER_KEY},{KEY}", 401), (",", 401)]
)
def test_a_comma_separates_several_keys(small: LiveServer, key: str, status: int) -> None:
    assert ask(small, "/v1/models", f"Bearer {key}") == status


def test_a_key_may_have_any_letters(bare: START) -> None:
    server = bare(apikey="clé-ключ")
    assert ask(server, "/v1/models", "Bearer clé-ключ") == 200
    assert ask(server, "/v1/models", "Bearer cle-ключ") == 401


@pytest.fixture(scope="module")
def accented() -> Iterator[LiveServer]:
    """A server with keys that are not ASCII."""
    with bare_server(apikey="other, clé, end\xa0") as server:
        yield server


@pytest.mark.parametrize("header", ["authorization", "api-key", "x-api-key"])
def test_a_key_is_taken_in_utf_8_and_in_latin_1(accented: LiveServer, header: str) -> None:
    scheme = b"Bearer " if header == "authorization" else b""
    with accented.client(key=None) as client:

        def status(key: bytes) -> int:
            return client.get("/v1/models", headers={header.encode(): scheme + key}).status_code

        for key in ("clé", "end\xa0"):
            assert [status(key.encode()), status(key.encode("latin-1"))] == [200, 200]
        for wrong in (b"end", b"other\xa0", b"\xa0", b"\xff\xfe", b"cl\xc3"):
            assert status(wrong) == 401


def test_the_log_says_which_key_it_was(bare: START, caplog: pytest.LogCaptureFixture) -> None:
    server = bare(apikey="first, second, third")
    with caplog.at_level(logging.INFO, "reflector_gpu.access"), server.client(None) as client:
        for number, sent in enumerate(([b"third"], [b"wrong", b"second", b"third"], [b"wrong"])):
            client.headers["X-Request-ID"] = f"keys-{number}"
            client.get("/v1/models", headers=[(b"api-key", key) for key in sent])

        def said() -> list[str]:
            lines = [record.getMessage() for record in caplog.records]
            return re.findall(r" id=keys-\d .*?key=(\S+)", "\n".join(lines))

        eventually(lambda: len(said()) == 3)
    assert said() == ["2", "1", "wrong"]


def test_all_keys_are_compared_in_constant_time(
    small: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def compare(sent: bytes, known: bytes) -> bool:
        compared.append(known)
        return hmac.compare_digest(sent, known)

    monkeypatch.setattr(access, "hmac", type("Spy", (), {"compare_digest": compare}))
    assert ask(small, "/v1/models", f"Bearer {OTHER_KEY}") == 200
    assert compared == [OTHER_KEY.encode(), KEY.encode()]


def test_a_wrong_key_is_refused_before_the_body_is_read(scripted: LiveServer) -> None:
    headers = {"Authorization": "Bearer wrong", "Content-Length": "1000000000"}
    request = httpx.Request("POST", f"{scripted.url}{TRANSCRIPTIONS}", headers=headers)
    with send_raw(scripted, request) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


# Where keys come from


@pytest.mark.parametrize("variable", ["REFLECTOR_APIKEY", "REFLECTOR_GPU_APIKEY"])
def test_both_variables_set_the_key(
    bare: START, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, SECRET)
    server = bare()
    assert ask(server, "/v1/models", f"Bearer {SECRET}") == 200
    assert ask(server, "/v1/models", None) == 401


def test_the_alias_yields_to_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_GPU_APIKEY", "old")
    monkeypatch.setenv("REFLECTOR_APIKEY", "new")
    assert load_settings().keys == ("new",)
    assert load_settings(apikey="given").keys == ("given",)


def test_without_any_key_everything_is_open(bare: START) -> None:
    server = bare(apikey=None)
    assert ask(server, "/v1/models", None) == 200
    assert ask(server, "/v1/models", "Bearer whatever") == 200


# What needs no key


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
@pytest.mark.parametrize("header", [None, "Bearer wrong"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_needs_no_key(
    scripted: LiveServer, path: str, header: str | None, method: str
) -> None:
    assert ask(scripted, path, header, method) == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_docs_follow_a_setting(scripted: LiveServer, small: LiveServer, path: str) -> None:
    assert ask(scripted, path, None) == 200
    assert ask(small, path, None) == 401
    assert ask(small, path, f"Bearer {KEY}") == 200


def test_metrics_follow_a_setting(scripted: LiveServer, small: LiveServer) -> None:
    assert ask(scripted, "/metrics", None) == 401
    assert ask(scripted, "/metrics", f"Bearer {KEY}") == 200
    assert ask(small, "/metrics", None) == 200


# Whom the server listens to without a key

EXPOSED = ["0.0.0.0", "::", "192.168.1.4", "example.org", ""]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "localhost"]


@pytest.mark.parametrize("host", EXPOSED)
def test_it_refuses_to_serve_others_without_a_key(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"APIKEY.*TRUSTED_NETWORKS.*--insecure"):
        load_settings(host=host).check_exposed()
    with pytest.raises(ConfigurationError):
        load_settings(host=host, apikey=" , ").check_exposed()


@pytest.mark.parametrize(
    "settings",
    [
        *({"host": host} for host in LOOPBACK),
        *({"host": host, "apikey": SECRET} for host in EXPOSED),
        *({"host": host, "insecure": True} for host in EXPOSED),
        *({"host": host, "trusted_networks": "10.0.0.0/8"} for host in EXPOSED),
    ],
)
def test_it_serves_others_with_a_key_or_if_told_to(
    settings: dict[str, object],
) -> None:
    load_settings(**settings).check_exposed()


# Keys stay secret


def test_keys_are_never_logged(bare: START, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = bare(apikey=SECRET)
    assert ask(server, "/v1/models", f"Bearer {SECRET}") == 200
    assert ask(server, "/v1/models", "Bearer wrong-secret") == 401
    assert ask(server, TRANSCRIPTIONS, f"Bearer {SECRET}", "POST") == 400
    eventually(lambda: f"POST {TRANSCRIPTIONS} 400" in caplog.text)
    assert "secret" not in caplog.text
    assert SECRET not in caplog.text


def test_keys_are_in_no_picture_of_the_settings() -> None:
    settings = load_settings(apikey=SECRET)
    assert settings.keys == (SECRET,)
    pictures: list[object] = [
        settings,
        settings.apikey,
        settings.model_dump(),
        settings.model_dump_json(),
        origins(settings, apikey=SECRET),
    ]
    for picture in pictures:
        assert SECRET not in f"{picture} {picture!r}"


def test_keys_are_in_no_message_about_settings() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(apikey=SECRET, port=-1)
    assert "REFLECTOR_PORT" in caught.value.message
    with pytest.raises(ConfigurationError) as refused:
        load_settings(apikey={"key": SECRET})
    assert SECRET not in f"{caught.value!r} {refused.value!r}"


def test_the_environment_is_the_only_other_source(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REFLECTOR_APIKEY", "REFLECTOR_GPU_APIKEY", "APIKEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("APIKEY", SECRET)
    assert load_settings().keys == ()
