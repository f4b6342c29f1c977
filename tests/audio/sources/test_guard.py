"""The address policy: what a client's URL may point to."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.fetch import Fetcher
from reflector_gpu.audio.guard import (
    AddressGuard,
    GuardedTransport,
    NameNotResolved,
    is_public,
    parse_url,
    port_of,
    system_resolver,
)
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import ConfigurationError, InvalidRequest, UpstreamFailed, UrlForbidden
from tests.audio.media import limited

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"


class Names:
    """A resolver that knows a few names and remembers what it was asked."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = {name.replace("_", "."): addresses for name, addresses in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self.known[host]


def resolve(url: str, *allow: str, names: Names | None = None) -> tuple[str, ...]:
    parsed = parse_url(url)
    guard = AddressGuard(allow, resolver=names or Names())
    return asyncio.run(guard.resolve(parsed.raw_host.decode("ascii"), port_of(parsed)))


FORBIDDEN = """
127.0.0.1 127.0.0.1. 127.255.255.254 127.1 127.0.1 127.1. 2130706433 2130706433. 0x7f000001
0X7F000001 0x7f.1 0x7f.0.0.1 0x7f.0x0.0x0.0x1 0177.0.0.1 0177.1 017700000001 127.0.0.0x1
00000177.0.0.1 127.0.0.01 0 0. 0x 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 10.1 0xa.0.0.1 167772161
172.16.0.1 172.31.255.255 192.168.0.1 192.168.1 192.168.257 0300.0250.0.1 3232235521
169.254.169.254 169.254.43518 0xa9fea9fe 2852039166 0251.0376.0251.0376 0xa9.0xfe.0xa9.0xfe
169.254.169.254. 100.64.0.1 100.100.100.200 100.127.255.255 192.0.0.192 192.0.0.8 168.63.129.16
192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9 192.88.99.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 4294967295 256.256.256.256 1.2.3.4.5 99999999999 localhost LOCALHOST localhost.
LocalHost. foo.localhost a.b.localhost. [::] [::1] [0:0:0:0:0:0:0:1]
[0000:0000:0000:0000:0000:0000:0000:0001] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:10.0.0.1]
[0:0:0:0:0:ffff:a9fe:a9fe] [::127.0.0.1] [::7f00:1] [::ffff:0:127.0.0.1] [2002:7f00:1::]
[2002:a9fe:a9fe::1] [2002:c0a8:101::1] [64:ff9b::127.0.0.1] [64:ff9b::a00:1] [64:ff9b::a9fe:a9fe]
[64:ff9b:1::a00:1] [64:ff9b:1:a00:0:100::] [2001:0:4136:e378:8000:63bf:f5ff:fffe] [2001::1]
[2001:db8::1] [3fff::1] [2606:4700::5efe:10.0.0.1] [2606:4700::200:5efe:192.168.0.1] [fe80::1]
[fe80::a9fe:a9fe] [fec0::1] [fc00::1] [fd00:ec2::254] [fd20:ce::254] [ff02::1] [100::1] [5f00::1]
[::1%25lo] [::1%lo] [fe80::1%25eth0] [2606:4700::1%251] %31%32%37.0.0.1 127.0.0%2e1 127%2E1
%6cocalhost localhost%00 127。0。0。1 127．0．0．1 127｡0｡0｡1 １２７.０.０.１ ①②⑦.0.0.1
ⓛocalhost ｌocalhost user@127.0.0.1 public.test@127.0.0.1 public.test:80@127.0.0.1
public.test%40@[::1] 127.0.0.1\\@public.test public.test\\@127.0.0.1 127.0.0.1:80\\.public.test
127.0.0.1;public.test 127.0.0.1,public.test public.test..  .public.test [v1.127] [127.0.0.1]
"[::1]" 127.0.0.1:0 127.0.0.1:65536 private.test
half.test mapped.test zone.test metadata.test
""".split()


@pytest.mark.parametrize("host", FORBIDDEN)
def test_refuses_every_way_to_write_a_forbidden_address(host: str) -> None:
    names = Names(
        public_test=[PUBLIC],
        private_test=["10.0.0.7"],
        half_test=[PUBLIC, PUBLIC_V6, "10.0.0.7"],
        mapped_test=["::ffff:10.0.0.7"],
        zone_test=["fe80::7%eth0"],
        metadata_test=["fd00:ec2::254"],
    )
    with pytest.raises((UrlForbidden, InvalidRequest)) as caught:
        resolve(f"http://{host}/a.wav", names=names)
    assert caught.value.param == "audio_file_url"
    assert "10.0.0.7" not in str(caught.value)
    assert set(names.asked) <= {name for name in names.known if name != "public.test"}


PRIVATE = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12"
        " 192.168.0.0/16 198.18.0.0/15 224.0.0.0/4 240.0.0.0/4"
    ).split()
]


def part(value: int, base: str) -> str:
    return {"decimal": f"{value}", "hex": f"{value:#x}", "octal": f"0{value:o}"}[base]


@st.composite
def private_hosts(draw: st.DrawFn) -> str:
    network = draw(st.sampled_from(PRIVATE))
    address = network[draw(st.integers(0, network.num_addresses - 1))]
    number, low = int(address), int(address) & 0xFFFFFFFF
    embeddings = {
        "mapped": 0xFFFF << 32 | low,
        "compatible": low,
        "translated": 0xFFFF << 48 | low,
        "nat64": 0x64FF9B << 96 | low,
        "local nat64": 0x64FF9B0001 << 80 | low,
        "6to4": 0x2002 << 112 | low << 80 | draw(st.integers(0, 2**80 - 1)),
        "teredo": 0x20010000 << 96 | (low ^ 0xFFFFFFFF),
        "isatap": 0x26064700 << 96 | 0x5EFE << 32 | low,
    }
    kind = draw(st.sampled_from(["inet_aton", *embeddings]))
    if kind != "inet_aton":
        address_v6 = IPv6Address(embeddings[kind])
        text = draw(st.sampled_from([str(address_v6), address_v6.exploded]))
        if draw(st.booleans()):
            head = IPv6Address(embeddings[kind] >> 32 << 32).exploded.rsplit(":", 2)[0]
            text = f"{head}:{IPv4Address(embeddings[kind] & 0xFFFFFFFF)}"
        return f"[{text.upper() if draw(st.booleans()) else text}]"
    count = draw(st.integers(1, 4))
    numbers = [number >> 8 * (3 - i) & 0xFF for i in range(count - 1)]
    numbers.append(number & (1 << 8 * (5 - count)) - 1)
    bases = st.sampled_from(["decimal", "hex", "octal"])
    return ".".join(part(n, draw(bases)) for n in numbers) + draw(st.sampled_from(["", "."]))


@given(private_hosts(), st.sampled_from(["http", "https", "HTTP"]), st.sampled_from(["", ":8080"]))
def test_refuses_private_ipv4_in_any_notation(host: str, scheme: str, port: str) -> None:
    names = Names()
    with pytest.raises((UrlForbidden, InvalidRequest)):
        resolve(f"{scheme}://{host}{port}/", names=names)
    assert names.asked == []


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            "http:// // : @ [ ] ::1 127.0.0.1 %00 \\ . / # ? 0x7f \u3002 \ud800 xn--".split(" ")
        )
        | st.text(max_size=3),
        max_size=8,
    ).map("".join)
)
def test_any_text_is_a_url_or_refused(text: str) -> None:
    """And whatever is read as its host, nothing but public names is looked up."""
    names = Names()
    for url in (text, f"http://{text}"):
        try:
            resolve(url, names=names)
        except (InvalidRequest, UrlForbidden, NameNotResolved):
            continue
    for asked in names.asked:
        assert asked == asked.lower()
        assert not asked.rstrip(".").endswith("localhost")
        assert not asked.rstrip(".").rpartition(".")[2].isdecimal()


@given(st.sampled_from(PRIVATE), st.data(), st.integers(0, 3))
def test_refuses_a_name_with_one_private_address(
    network: IPv4Network, data: st.DataObject, position: int
) -> None:
    private = network[data.draw(st.integers(0, network.num_addresses - 1))]
    found = [PUBLIC, PUBLIC_V6, "8.8.8.8"]
    found.insert(position, str(private))
    with pytest.raises(UrlForbidden) as caught:
        resolve("http://name.test/", names=Names(name_test=found))
    assert str(private) not in str(caught.value)


@given(st.ip_addresses())
def test_public_means_global_in_the_registry(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        assert address.is_global or address in IPv6Network("64:ff9b::/96")


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("public.test", (PUBLIC,)),
        ("PUBLIC.test.", (PUBLIC,)),
        ("user:secret@public.test:8443", (PUBLIC,)),
        ("dual.test", (PUBLIC_V6, PUBLIC)),
        ("my_bucket-1.test", (PUBLIC,)),
        ("xn--bcher-kva.test", (PUBLIC,)),
        ("bücher.test", (PUBLIC,)),
        (PUBLIC, (PUBLIC,)),
        (f"[{PUBLIC_V6}]:8080", (PUBLIC_V6,)),
        (f"[::ffff:{PUBLIC}]", (PUBLIC,)),
        ("dns64.test", ("64:ff9b::5db8:d822",)),
        ("172.15.255.255", ("172.15.255.255",)),
        ("100.63.255.255", ("100.63.255.255",)),
    ],
)
def test_public_hosts_pass(host: str, addresses: tuple[str, ...]) -> None:
    names = Names(public_test=[PUBLIC], dual_test=[PUBLIC_V6, PUBLIC, PUBLIC_V6])
    names.known |= {"my_bucket-1.test": [PUBLIC], "xn--bcher-kva.test": [PUBLIC]}
    names.known |= {"dns64.test": [f"64:ff9b::{PUBLIC}"]}
    assert resolve(f"https://{host}/a.wav", names=names) == addresses


@pytest.mark.parametrize(
    "scheme", ["ftp", "file", "gopher", "s3", "data", "javascript", "localhost"]
)
def test_other_schemes_are_refused_with_the_ones_that_work(scheme: str) -> None:
    with pytest.raises(UrlForbidden, match="http:// or https://") as caught:
        parse_url(f"{scheme}://public.test/a.wav")
    assert caught.value.param == "audio_file_url"


MALFORMED = [
    *"a.wav /a.wav //public.test/a.wav http: http:// http:///a.wav http:a.wav http://:80/".split(),
    *"http://user@/ http://[::1/ http://public.test:-1/ http://public.test:0/ http://h:pa:ss/".split(),
    *"http://public.test:65536/ http://public.test:http/ http://public.test\\a.wav".split(),
    *["", " http://public.test/", "http://public.test/\n", "http://public.test/\ud800"],
    *["http://\ud800.test/", "http://public.test/" + "a" * 70_000],
]


@pytest.mark.parametrize("url", MALFORMED)
def test_malformed_urls_are_the_clients_fault(url: str) -> None:
    with pytest.raises(InvalidRequest, match="absolute") as caught:
        parse_url(url)
    assert caught.value.param == "audio_file_url"


ODD_HOSTS = [
    "",
    ".",
    "a..b",
    "a b",
    "a/b",
    "a@b",
    "0177.0.0.1",
    "127.0.0.1\n",
    "127.0.0.1 ",
    "１.1",
]
ODD_HOSTS += [
    "127。0。0。1",
    "a%2e",
    "[::1]",
    "::1%lo",
    "::g",
    "a" * 64,
    "a." * 127 + "a",
    "localhost\0",
]


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_hosts_that_readers_could_disagree_about_are_refused(host: str) -> None:
    names = Names()
    guard = AddressGuard(["0.0.0.0/0", "::/0"], resolver=names)
    with pytest.raises(UrlForbidden, match="plain name"):
        asyncio.run(guard.resolve(host, 80))
    assert names.asked == []


def test_messages_do_not_repeat_what_may_be_a_secret() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_url("https://public.test:hunter2/a.wav?X-Amz-Signature=hunter2")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("minio", "http://minio:9000/a"),
        ("MinIO.", "http://minio/a"),
        ("minio:9000", "http://minio:9000/a"),
        ("minio:80", "http://minio/a"),
        ("*.corp.test", "https://a.b.corp.test/"),
        ("*.corp.test:443", "https://a.b.corp.test/"),
        ("bücher.test", "http://xn--bcher-kva.test/"),
        ("10.0.0.7", "http://minio/"),
        ("10.0.0.0/8", "http://minio/"),
        (" 10.0.0.7:9000 ", "http://10.0.0.7:9000/"),
        ("fd00::/8", "http://[fd00::5]/"),
        ("[fd00::5]:9000", "http://[FD00::5]:9000/"),
        ("fd00::5", "http://[fd00:0::5]/"),
        ("10.0.0.7", "http://[::ffff:10.0.0.7]/"),
        ("localhost", "http://localhost:9000/"),
        ("127.0.0.1", "http://localhost/"),
        ("::1", "http://files.localhost/"),
        ("169.254.169.254", "http://169.254.169.254/"),
    ],
)
def test_an_operator_can_open_hosts(entry: str, url: str) -> None:
    names = Names(minio=["10.0.0.7"], a_b_corp_test=["10.1.1.1"])
    names.known["xn--bcher-kva.test"] = ["10.2.2.2"]
    with pytest.raises(UrlForbidden, match="REFLECTOR_URL_ALLOW"):
        resolve(url, names=names)
    assert resolve(url, "other", entry, "", names=names)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("minio:9000", "http://minio:9001/"),
        ("minio", "http://minio.corp.test/"),
        ("minio", "http://notminio/"),
        ("*.corp.test", "http://corp.test/"),
        ("*.corp.test", "http://evilcorp.test/"),
        ("10.0.0.0/24", "http://10.0.1.0/"),
        ("10.0.0.7:9000", "http://10.0.0.7/"),
        ("127.0.0.1", "http://2130706433/"),
        ("127.0.0.0/8", "http://[::1]/"),
        ("10.0.0.7", "http://split.test/"),
        ("metadata.test", "http://metadata.test/"),
    ],
)
def test_an_opening_opens_nothing_else(entry: str, url: str) -> None:
    private = "minio minio_corp_test notminio corp_test evilcorp_test".split()
    names = Names(**{name: ["10.9.9.9"] for name in private}, split_test=["10.0.0.7", "10.0.0.8"])
    names.known["metadata.test"] = ["64:ff9b::169.254.169.254"]
    with pytest.raises(UrlForbidden):
        resolve(url, entry, names=names)


BAD_ENTRIES = [
    *"* *. *.* a.*.b http://minio:9000 minio/ minio:port minio:0 minio:70000 10.0.0.1/8".split(),
    *"10.0.0.0/33 10.0.0 0x7f.1 *.10.0.0.1 user@minio a..b [::1 fe80::1%eth0 minio,other".split(),
    *["a b", "mini\ud800o"],
]


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_a_bad_entry_is_named(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="REFLECTOR_URL_ALLOW") as caught:
        AddressGuard(["fine.test", entry])
    assert repr(entry) in str(caught.value)


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
