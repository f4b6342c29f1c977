"""Addresses of callers, trusted networks, and origins of web pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:\d+)?)/?")
_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. ``address`` is empty if it is unknown."""

    address: str
    trusted: bool

    @property
    def client(self) -> str:
        """The name under which the sender's work is counted; empty if the address is unknown.

        A host with IPv6 has the 64 low bits of its address to itself (RFC 4291, section 2.5.1), so
        it could have a new address for each request. It is counted by the 64 high bits.
        """
        if not self.address:
            return ""
        address = ip_address(self.address)
        return (
            self.address
            if address.version == 4
            else str(ip_network((int(address), 128)).supernet(new_prefix=64))
        )


class Trust:
    """Tells callers from trusted networks from all others."""

    def __init__(self, networks: Iterable[str], proxies: Iterable[str]) -> None:
        """Only ``proxies`` may say in ``X-Forwarded-For`` for whom they ask.

        Raises:
            ValueError: one of them is no network.
        """
        self._networks = [network_of(text) for text in networks]
        self._proxies = [network_of(text) for text in proxies]

    def caller(self, peer: str | None, forwarded: Sequence[str]) -> Caller:
        """The caller. ``peer`` is the other end of the connection, and ``forwarded`` has the values
        of its X-Forwarded-For headers in order.

        Each proxy appends the address of its own caller. So the rightmost entry that is not a
        trusted proxy's was written by one, and names the caller. A proxy that sends no such header
        is not trusted: one that is not configured to add it would let everybody in.
        """
        address = _address_of(peer or "")
        if address is None or not _within(address, self._proxies):
            return self._judged(address)
        entries = [entry.strip(" \t") for value in forwarded for entry in value.split(",")]
        for entry in reversed(entries):
            client = _forwarded_address(entry)
            if client is None or not _within(client, self._proxies):
                return self._judged(client)
        return Caller(str(address), trusted=False)

    def _judged(self, address: Address | None) -> Caller:
        if address is None:
            return Caller("", trusted=False)
        return Caller(str(address), _within(address, self._networks))


def network_of(text: str) -> Network:
    """The network of ``text``: an address, or one with the length of its prefix.

    Raises:
        ValueError: it is none. The message says what to write.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "%" in text:
        raise ValueError(f"'{text}' is neither an address nor a network such as 172.18.0.0/16")
    if "/" in text and ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"'{text}' is not the beginning of a network; write {network}")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        plain = ip_network((network.network_address.packed[-4:], network.prefixlen - 96))
        raise ValueError(f"'{text}' is an IPv4 network; write {plain}")
    return network


def cors_origin(text: str) -> str:
    """The web origin in ``text``, as browsers write it; ``*`` is any origin.

    Raises:
        ValueError: it is none. The message says what to write.
    """
    found = _ORIGIN.fullmatch(text.lower())
    if text != "*" and not found:
        raise ValueError(f"'{text}' is no origin such as https://app.example.org, and not *")
    return found[1] if found else text


def network_warnings(
    networks: Sequence[str], proxies: Sequence[str], url_allow: Sequence[str]
) -> list[str]:
    """Settings that may let in more than they were meant to: the networks and proxies that are
    trusted, and what URLs may name."""
    warnings = []
    if holds_everyone(networks):
        warnings.append("REFLECTOR_TRUSTED_NETWORKS holds every address: nobody needs a key")
    if networks and holds_everyone(proxies):
        warnings.append(
            "REFLECTOR_TRUSTED_PROXIES holds every address: anybody can claim to ask from a "
            "trusted network"
        )
    if holds_everyone(url_allow):
        warnings.append(
            "REFLECTOR_URL_ALLOW holds every address: clients can have the server ask any host of "
            "its network, and the cloud's metadata service"
        )
    return warnings


def holds_everyone(entries: Iterable[str]) -> bool:
    """Whether every address of IPv4, or of IPv6, is in one of ``entries``. Host names are in none
    of them."""
    parsed: list[Network] = []
    for entry in entries:
        with suppress(ValueError):
            parsed.append(network_of(entry))
    fours = collapse_addresses(one for one in parsed if isinstance(one, IPv4Network))
    sixes = collapse_addresses(one for one in parsed if isinstance(one, IPv6Network))
    return any(one.prefixlen == 0 for one in fours) or any(one.prefixlen == 0 for one in sixes)


@lru_cache(1000)
def _address_of(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:  # a socket without addresses, or a host's name
        return None
    # A socket for both protocols shows IPv4 peers as IPv6 addresses.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _forwarded_address(text: str) -> Address | None:
    """As `_address_of`, but without a zone: that has a meaning on the proxy's machine alone."""
    return None if "%" in text else _address_of(text)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
