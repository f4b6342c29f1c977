"""Callers from trusted networks, who need no key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import httpx
import pytest

from reflector_gpu.api.app import create_app
from reflector_gpu.settings import load_settings
from tests.api.support import TRANSCRIPTIONS, bare_server, error_of, upload
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]

EVERYWHERE = "0.0.0.0"
HERE = "127.0.0.0/8"
ELSEWHERE = "192.0.2.0/24"
FRIEND = "192.0.2.7"
FORWARDED = "X-Forwarded-For"
STRANGER = "203.0.113.9"


@pytest.fixture(scope="module")
def distant() -> Iterator[LiveServer]:
    """A server whose trusted network is another than ours."""
    with bare_server(host=EVERYWHERE, trusted_networks=ELSEWHERE) as server:
        yield server


@pytest.fixture(scope="module", params=[EVERYWHERE, "127.0.0.1"])
def proxied(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """The same behind a proxy. If it listens to loopback alone, others still come through that."""
    with bare_server(
        host=request.param, trusted_networks=ELSEWHERE, trusted_proxies="127.0.0.1"
    ) as server:
        yield server


def models(
    server: LiveServer, key: str | None = None, headers: Sequence[tuple[str, str]] = ()
) -> httpx.Response:
    with server.client(key) as client:
        return client.get("/v1/models", headers=list(headers))


def test_a_caller_from_a_trusted_network_needs_no_key(bare: START) -> None:
    server = bare(host=EVERYWHERE, trusted_networks=HERE)
    assert models(server).status_code == 200


def test_callers_from_other_networks_learn_which_setting_would_let_them_in(
    distant: LiveServer,
) -> None:
    error = error_of(models(distant), 401)
    assert "127.0.0.1" in error["message"]
    assert "REFLECTOR_TRUSTED_NETWORKS" in error["message"]
    assert ELSEWHERE not in error["message"]


def test_a_key_works_beside_the_networks(bare: START) -> None:
    server = bare(host=EVERYWHERE, trusted_networks=ELSEWHERE, apikey=KEY)
    assert models(server, KEY).status_code == 200
    assert error_of(models(server), 401)["message"].startswith("No API key")
    assert error_of(models(server, "wrong"), 401)["message"].startswith("Incorrect")


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, KEY, "selfhosted", "None"])
def test_reflector_comes_in_whatever_it_sends(bare: START, clip: bytes, key: str | None) -> None:
    """Its compose file makes up a key for speech, and its translator has none."""
    for more in ({}, {"apikey": KEY}):
        server = bare(model="scripted", host=EVERYWHERE, trusted_networks=HERE, **more)
        with server.client(key) as client:
            assert client.post(TRANSCRIPTIONS, files={"file": clip}).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X_Forwarded_For", "X-Real-IP", "Forwarded"])
@pytest.mark.parametrize("value", [FRIEND, f"for={FRIEND}", f"{FRIEND}, {FRIEND}", "127.0.0.1"])
def test_a_header_makes_nobody_trusted(distant: LiveServer, header: str, value: str) -> None:
    assert models(distant, headers=[(header, value)]).status_code == 401


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (FRIEND, 200),
        (STRANGER, 401),
        (f"{FRIEND}, {STRANGER}", 401),
        (f"{STRANGER}, {FRIEND}", 200),
        (f"{FRIEND}:80", 401),
        ("", 401),
    ],
)
def test_a_trusted_proxy_brings_friends_and_strangers(
    proxied: LiveServer, header: str, status: int
) -> None:
    assert models(proxied, headers=[(FORWARDED, header)]).status_code == status


def test_two_headers_are_one_list(proxied: LiveServer) -> None:
    for first, second, status in [(FRIEND, STRANGER, 401), (STRANGER, FRIEND, 200)]:
        headers = [(FORWARDED, first), (FORWARDED, second)]
        assert models(proxied, headers=headers).status_code == status


def test_a_proxy_alone_changes_nothing_on_loopback(bare: START) -> None:
    assert models(bare(trusted_proxies="127.0.0.1")).status_code == 200
    assert models(bare(trusted_networks=ELSEWHERE)).status_code == 200


def test_insecure_lets_everybody_in(bare: START) -> None:
    server = bare(host=EVERYWHERE, trusted_networks=ELSEWHERE, insecure=True)
    assert models(server).status_code == 200


def test_an_app_that_is_served_to_all_without_any_key_lets_nobody_in(bare: START) -> None:
    """``serve`` refuses to start it; another ASGI server does not ask."""
    assert models(bare(host=EVERYWHERE)).status_code == 401


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ((FRIEND, 4711), 200),
        ((f"::ffff:{FRIEND}", 4711, 0, 0), 200),
        ((STRANGER, 4711), 401),
        (("2001:db8::1", 4711), 401),
        (("fe80::1%eth0", 4711), 401),
        (None, 401),
        (("", 0), 401),
    ],
)
def test_peers_of_every_kind(peer: tuple[str, int] | None, status: int) -> None:
    """The last two are at the other end of a Unix socket."""
    app = create_app(
        load_settings(model="scripted", host=EVERYWHERE, trusted_networks=ELSEWHERE, apikey=KEY)
    )
    transport = httpx.ASGITransport(app, client=peer)  # type: ignore[arg-type]  # as servers do

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.get("/v1/models")).status_code

    assert asyncio.run(ask()) == status


def test_each_trusted_address_is_a_client_of_its_own(bare: START, clip: bytes) -> None:
    server = bare(
        model="scripted",
        host=EVERYWHERE,
        trusted_networks="192.0.2.0/24, 127.0.0.1",
        trusted_proxies="127.0.0.1",
        key_hourly_audio_seconds=0.5,
    )

    def send(address: str) -> httpx.Response:
        with server.client(None) as client:
            client.headers[FORWARDED] = address
            return client.post(TRANSCRIPTIONS, files={"file": clip})

    assert send("192.0.2.1").status_code == 200
    assert "of this hour" in error_of(send("192.0.2.1"), 429)["message"]
    assert send("192.0.2.2").status_code == 200


@pytest.mark.slow
def test_each_address_is_a_client_of_its_own_where_nobody_needs_a_key(
    bare: START, clip: bytes
) -> None:
    server = bare(
        model="scripted",
        host=EVERYWHERE,
        insecure=True,
        trusted_proxies="127.0.0.1",
        key_hourly_audio_seconds=0.5,
    )

    def send(address: str) -> int:
        with server.client(None) as client:
            client.headers[FORWARDED] = address
            return client.post(TRANSCRIPTIONS, files={"file": clip}).status_code

    assert [send("192.0.2.1"), send("192.0.2.1"), send("192.0.2.2")] == [200, 429, 200]


def test_a_key_counts_as_such_from_a_trusted_network_too(bare: START, clip: bytes) -> None:
    server = bare(
        model="scripted",
        host=EVERYWHERE,
        trusted_networks=HERE,
        apikey=KEY,
        key_hourly_audio_seconds=0.5,
    )
    assert upload(server, clip).status_code == 200
    assert upload(server, clip).status_code == 429
    with server.client(None) as client:
        assert client.post(TRANSCRIPTIONS, files={"file": clip}).status_code == 200
