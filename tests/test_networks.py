"""Whose address counts, and which addresses are trusted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.networks import Caller, Trust, holds_everyone, network_of, network_warnings

TRUST = Trust(["172.18.0.0/16", "192.0.2.7", "fd00::/8", "fe80::/10"], ["10.0.0.1", "10.1.0.0/24"])
PROXY = "10.0.0.1"
FRIEND = "172.18.3.4"
STRANGER = "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (FRIEND, True),
        ("172.19.0.1", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("fd12::1", True),
        ("2001:db8::1", False),
        ("fe80::1%eth0", True),
        (f"::ffff:{FRIEND}", True),
        ("::ffff:ac12:304", True),
        (f"::ffff:{STRANGER}", False),
        (f"::{FRIEND}", False),
        (PROXY, False),
        (None, False),
        ("", False),
        ("/run/reflector.sock", False),
        ("testclient", False),
        ("localhost", False),
    ],
)
def test_the_peers_own_address_counts(peer: str | None, trusted: bool) -> None:
    assert TRUST.caller(peer, []).trusted is trusted


@pytest.mark.parametrize("header", [FRIEND, f"{FRIEND}, {FRIEND}", PROXY])
def test_a_header_from_anybody_else_counts_for_nothing(header: str) -> None:
    assert TRUST.caller(STRANGER, [header]) == Caller(STRANGER, trusted=False)
    assert TRUST.caller(FRIEND, [STRANGER]) == Caller(FRIEND, trusted=True)


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([FRIEND], FRIEND),
        ([STRANGER], STRANGER),
        ([f"{FRIEND}, {STRANGER}"], STRANGER),
        ([f"{FRIEND},{STRANGER}"], STRANGER),
        ([FRIEND, STRANGER], STRANGER),
        ([STRANGER, FRIEND], FRIEND),
        ([f"{FRIEND}, 10.1.0.5"], FRIEND),
        ([f"{FRIEND}, {STRANGER}, 10.1.0.5, {PROXY}"], STRANGER),
        ([f"{STRANGER}, {FRIEND}, 10.1.0.5"], FRIEND),
        ([f" \t{FRIEND}\t "], FRIEND),
        ([f"::ffff:{FRIEND}"], FRIEND),
        (["fd00::1"], "fd00::1"),
    ],
)
def test_a_trusted_proxy_says_for_whom_it_asks(headers: list[str], address: str) -> None:
    """The last entry that a trusted proxy wrote; what is left of it, the client may have sent."""
    trusted = address in (FRIEND, "fd00::1")
    assert TRUST.caller(PROXY, headers) == Caller(address, trusted)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        f"{FRIEND},",
        f"{FRIEND}, unknown",
        f"{FRIEND}, _hidden",
        f"{FRIEND}:4711",
        "[fd00::1]",
        "[fd00::1]:4711",
        "fe80::1%eth0",
        "fe80::1%",
        f'"{FRIEND}"',
        f"for={FRIEND}",
        f"{FRIEND} {FRIEND}",
        f"{FRIEND}\x00",
        f"\xa0{FRIEND}",
        f"{FRIEND}/32",
        "172.18.0.0/16",
        "172.018.0.1",
        "2886729732",
        "0xac120304",
        "172.18.1",
        "١٧٢.18.3.4",
        PROXY,
        f"{PROXY}, 10.1.0.9",
    ],
)
def test_what_a_proxy_sends_garbled_or_about_itself_is_not_trusted(header: str) -> None:
    assert not TRUST.caller(PROXY, [header]).trusted


def test_a_proxy_that_says_nothing_is_not_trusted_though_its_network_is() -> None:
    """It may be one that never adds the header, and everybody would come in through it."""
    trust = Trust(["10.0.0.0/8"], [PROXY])
    assert trust.caller(PROXY, []) == Caller(PROXY, trusted=False)
    assert trust.caller("10.0.0.2", []) == Caller("10.0.0.2", trusted=True)


addresses = st.ip_addresses().map(str)


@given(st.lists(st.one_of(addresses, st.text(max_size=30)), max_size=5), addresses)
def test_nothing_that_a_client_writes_changes_who_it_is(written: list[str], client: str) -> None:
    """The proxy appends the client's address to whatever the client sent."""
    trust = Trust(["172.16.0.0/12"], ["127.0.0.1"])
    expected = trust.caller(client, [])
    seen = trust.caller("127.0.0.1", [", ".join([*written, client])])
    if client != "127.0.0.1":
        assert seen == expected
    assert trust.caller("127.0.0.1", [*written, client]) == seen or client == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
    ],
)
def test_a_host_with_a_new_address_for_each_request_is_one_client(
    peer: str | None, client: str
) -> None:
    assert TRUST.caller(peer, []).client == client


@given(st.ip_addresses(v=4))
def test_both_ways_to_write_an_address_are_one(address: IPv4Address) -> None:
    mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    assert TRUST.caller(str(mapped), []) == TRUST.caller(str(address), [])


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks(text: str, network: str) -> None:
    assert str(network_of(text)) == network


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
        ("::ffff:10.0.0.1", "write 10.0.0.1/32"),
        ("fe80::1%eth0", "neither an address nor"),
        ("gpu.internal", "neither an address nor"),
        ("10.0.0.0/33", "neither an address nor"),
        ("*", "neither an address nor"),
        ("/8", "neither an address nor"),
    ],
)
def test_what_is_no_network_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_of(text)


@pytest.mark.parametrize(
    ("networks", "everyone"),
    [
        (["0.0.0.0/0"], True),
        (["10.0.0.0/8", "::/0"], True),
        (["0.0.0.0/1", "128.0.0.0/1"], True),
        (["0.0.0.0/1"], False),
        (["10.0.0.0/8", "fd00::/8"], False),
        (["minio:9000", "*.corp.example", "10.0.0.5"], False),
        (["minio:9000", "0.0.0.0/0"], True),
        ([], False),
    ],
)
def test_networks_that_hold_everyone(networks: list[str], everyone: bool) -> None:
    assert holds_everyone(networks) is everyone


ALL = ["0.0.0.0/0"]


@pytest.mark.parametrize(
    ("networks", "proxies", "url_allow", "named"),
    [
        ([], [], [], []),
        (["10.0.0.0/8"], ["10.0.0.1/32"], ["minio"], []),
        (ALL, [], [], ["TRUSTED_NETWORKS"]),
        ([], ALL, [], []),
        (["10.0.0.0/8"], ALL, [], ["TRUSTED_PROXIES"]),
        ([], [], ["::/0"], ["URL_ALLOW"]),
        (ALL, ALL, ALL, ["TRUSTED_NETWORKS", "TRUSTED_PROXIES", "URL_ALLOW"]),
    ],
)
def test_what_lets_everybody_in_is_warned_of(
    networks: list[str], proxies: list[str], url_allow: list[str], named: list[str]
) -> None:
    warnings = network_warnings(networks, proxies, url_allow)
    assert [text.split()[0].removeprefix("REFLECTOR_") for text in warnings] == named


def test_an_address_is_shown_in_its_short_form() -> None:
    assert TRUST.caller("2001:0db8::0001", []).address == str(ip_address("2001:db8::1"))
