"""Where a guarded request goes: to an address that was checked, under the name of its URL."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from reflector_gpu.audio.fetch import Fetcher
from reflector_gpu.audio.guard import (
    AddressGuard,
    GuardedTransport,
    NameNotResolved,
    system_resolver,
)
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import UpstreamFailed
from tests.audio.media import limited
from tests.audio.sources.resolving import PUBLIC, PUBLIC_V6, Names, resolve


def test_a_name_without_address_is_the_hosts_failure() -> None:
    with pytest.raises(UpstreamFailed, match=r"nowhere\.test") as caught:
        resolve("http://nowhere.test/")
    assert isinstance(caught.value, NameNotResolved)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.temporary, copy.param) == (False, "audio_file_url")
    with pytest.raises(NameNotResolved, match="no address"):
        resolve("http://empty.test/", names=Names(empty_test=[]))


def test_the_systems_resolver_gives_addresses() -> None:
    assert asyncio.run(system_resolver("127.0.0.1", 80)) == ["127.0.0.1"]


def sent_to(url: str, *addresses: str, dead: int = 0) -> list[httpx.Request]:
    """The requests that reach the wire for ``url``, the first ``dead`` of them in vain."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) <= dead:
            raise httpx.ConnectError("dead")
        return httpx.Response(200)

    guard = AddressGuard(resolver=Names(name_test=addresses))
    transport = GuardedTransport(httpx.MockTransport(answer), guard)
    asyncio.run(transport.handle_async_request(httpx.Request("GET", url)))
    return seen


def test_tls_and_host_header_keep_the_name() -> None:
    (request,) = sent_to("https://name.test.:8443/a?b=c", PUBLIC_V6)
    assert request.url == f"https://[{PUBLIC_V6}]:8443/a?b=c"
    assert request.headers["host"] == "name.test.:8443"
    assert request.extensions["sni_hostname"] == "name.test"


def test_the_next_address_is_tried_where_one_can_not_be_reached() -> None:
    requests = sent_to("http://name.test/", PUBLIC_V6, PUBLIC, "8.8.8.8", dead=1)
    assert [request.url.raw_host.decode() for request in requests] == [PUBLIC_V6, PUBLIC]
    with pytest.raises(httpx.ConnectError):
        sent_to("http://name.test/", *(f"8.8.8.{n}" for n in range(9)), dead=3)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_verifies_the_name_and_not_the_address(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=audio.test"
    make += f" -addext subjectAltName=DNS:audio.test -keyout {key} -out {certificate}"
    subprocess.run(make.split(), check=True, capture_output=True)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate, key)
    client_side = ssl.create_default_context(cafile=certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        writer.close()

    async def fetch(host: str, transport: httpx.AsyncBaseTransport | None) -> bytes:
        guard = AddressGuard(["127.0.0.1"], resolver=Names(**{host: ["127.0.0.1"]}))
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        port = server.sockets[0].getsockname()[1]
        async with server, Fetcher(guard, limited(), transport=transport) as fetcher:
            with Spool(9) as spool:
                await fetcher.fetch(f"https://{host}:{port}/", spool)
                return spool.read_at(0, 9)

    def trusting() -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(verify=client_side)

    assert asyncio.run(fetch("audio.test", trusting())) == b"abc"
    with pytest.raises(UpstreamFailed, match=r"other\.test has no valid certificate"):
        asyncio.run(fetch("other.test", trusting()))
    with pytest.raises(UpstreamFailed, match=r"audio\.test has no valid certificate"):
        asyncio.run(fetch("audio.test", None))  # trusts public authorities alone
