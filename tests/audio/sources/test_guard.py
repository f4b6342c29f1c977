"""The address policy: what a client's URL may point to."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.guard import (
    AddressGuard,
    NameNotResolved,
    is_public,
    parse_url,
)
from reflector_gpu.errors import InvalidRequest, UrlForbidden
from tests.audio.sources.resolving import PUBLIC, PUBLIC_V6, Names, resolve

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
