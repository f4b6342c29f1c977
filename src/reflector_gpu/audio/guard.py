"""The address policy for URLs that clients send: which hosts this server may connect to.

A URL is read once (`parse_url`), its host is looked up once (`AddressGuard.resolve`), and the
connection goes to an address that was checked (`GuardedTransport`), so it does not help an attacker
to change the name's addresses after the check. Addresses are refused unless they are known to be
public, whatever their notation.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Protocol

import httpx

from reflector_gpu.errors import (
    ConfigurationError,
    InvalidRequest,
    UpstreamFailed,
    UrlForbidden,
)
from reflector_gpu.networks import Address, Network

SETTING = "REFLECTOR_URL_ALLOW"
"""The setting that opens hosts, for messages."""

URL_FIELD = "audio_file_url"
"""The field with the URL in most requests, which errors have as ``param``. Callers whose field has
another name replace it."""


_PRIVATE_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server, inside a public range
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = 0x5EFE
_METADATA: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "169.254.0.0/16",  # nearly everybody
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "fe80::/10",  # link-local
    )
)
_LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

_LABEL = r"[a-z0-9_-]{1,63}"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMERIC_END = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
_LONGEST_NAME = 253
_PORTS = range(1, 65536)
_ADDRESSES_TRIED = 3


class Resolver(Protocol):
    """How a host name becomes addresses."""

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of ``host``, the preferred one first.

        Raises:
            OSError: the name has none, or the lookup failed.
        """
        ...


class HostNotPublic(UrlForbidden):
    """The host is in a private network, and the operator has not opened it."""


class NameNotResolved(UpstreamFailed):
    """The host's name has no address. ``temporary`` means that asking again may help."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message, param=URL_FIELD)
        self.temporary = temporary


_LOOKUPS = ThreadPoolExecutor(32, "lookup")
"""Threads of their own, because a silent name server must not block other work."""


async def system_resolver(host: str, port: int) -> list[str]:
    """Ask the operating system, which puts addresses that it can reach first."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look_up)
    return [str(where[0]) for *_, where in found]


def parse_url(text: str) -> httpx.URL:
    """The URL that a client sent.

    Raises:
        InvalidRequest: it is no absolute URL with a host and a possible port.
        UrlForbidden: its scheme is not http or https.
    """
    malformed = InvalidRequest(
        "The URL cannot be read. Send an absolute one, such as https://host/recording.mp3.",
        param=URL_FIELD,
    )
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise malformed from None  # the parser's message may quote a password
    if url.scheme and url.scheme not in ("http", "https"):
        raise UrlForbidden(
            "URLs have to start with http:// or https://.",
            param=URL_FIELD,
        )
    # Browsers read a backslash as a slash, so readers would disagree about the host.
    if not url.scheme or not url.raw_host or "\\" in text or port_of(url) not in _PORTS:
        raise malformed
    return url


def port_of(url: httpx.URL) -> int:
    """The port that ``url`` names or implies."""
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def is_public(address: Address) -> bool:
    """Whether ``address`` is in the public internet. Tunnels and translations are looked into."""
    address = _carried(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _PRIVATE_V4)
    return (
        address in _GLOBAL_V6
        and address.scope_id is None
        and not any(address in network for network in _PRIVATE_V6)
        # The universal bit tells ISATAP interfaces of public IPv4 addresses from private ones.
        and (int(address) >> 32) & 0xFDFF_FFFF != _ISATAP
    )


@dataclass(frozen=True, slots=True)
class _Opening:
    """One entry of the setting: a network, a name, or (``wildcard``) every name below one."""

    target: Network | str
    port: int | None = None
    wildcard: bool = False

    def has_name(self, name: str, port: int) -> bool:
        if not isinstance(self.target, str) or self.port not in (None, port):
            return False
        return name.endswith(f".{self.target}") if self.wildcard else name == self.target

    def has_address(self, address: Address, port: int) -> bool:
        if isinstance(self.target, str) or self.port not in (None, port):
            return False
        return address in self.target


class AddressGuard:
    """Finds the addresses from which a client's URL may be fetched.

    Every address of a host must be public. ``allow`` opens others: a host name
    (``minio``), names below one (``*.corp.example``), an address or a range (``10.1.0.0/16``),
    and each but the range may have a port (``minio:9000``, ``[fd00::5]:9000``). An open name may
    have any address except those of cloud metadata services. To open one of these, name the
    address.

    Raises:
        ConfigurationError: an entry of ``allow`` cannot be understood.
    """

    def __init__(self, allow: Iterable[str] = (), *, resolver: Resolver = system_resolver) -> None:
        self._openings = tuple(_opening(entry) for entry in allow if entry.strip())
        self._resolver = resolver

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The checked addresses of ``host`` (ASCII, IPv6 without brackets), preferred one first.

        Connect to these and to nothing else.

        Raises:
            UrlForbidden: the host, or one of its addresses, is not public and not open.
            NameNotResolved: the name has no address.
        """
        target = _host(host)
        if target is None:
            raise UrlForbidden(
                "The host of the URL has to be a plain name, or an IP address in its usual form:"
                " four decimal numbers, or IPv6 in brackets.",
                param=URL_FIELD,
            )
        if not isinstance(target, str):
            addresses: tuple[Address, ...] = (target,)
            named = False
        else:
            named = any(opening.has_name(target, port) for opening in self._openings)
            if f".{target}".endswith(".localhost"):
                # RFC 6761: name servers are not asked. One open loopback address is enough.
                addresses = tuple(a for a in _LOOPBACK if self._opens(a, port, named)) or _LOOPBACK
            else:
                addresses = await self._look_up(target, port)
        if not all(self._opens(a, port, named) or is_public(a) for a in addresses):
            raise HostNotPublic(
                f"The URL's host {target} is not a public one. Use a public URL or upload the file;"
                f" whoever runs this server can open the host with {SETTING}.",
                param=URL_FIELD,
            )
        return tuple(str(address) for address in addresses)

    def _opens(self, address: Address, port: int, named: bool) -> bool:
        if named and not any(_carried(address) in network for network in _METADATA):
            return True
        return any(opening.has_address(address, port) for opening in self._openings)

    async def _look_up(self, name: str, port: int) -> tuple[Address, ...]:
        try:
            found = await self._resolver(name, port)
        except OSError as error:
            raise NameNotResolved(
                f"The URL's host {name} cannot be found; check its name.",
                temporary=error.errno == socket.EAI_AGAIN,
            ) from error
        if not found:
            raise NameNotResolved(f"The URL's host {name} has no address.", temporary=False)
        return tuple(dict.fromkeys(_unmapped(ip_address(text)) for text in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends every request to an address that an `AddressGuard` has checked.

    The URL's host becomes that address. ``Host`` stays, and TLS verifies the original name.
    ``inner`` must not keep connections: it knows them by their addresses alone, and would reuse one
    that was verified for another name.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, guard: AddressGuard) -> None:
        self._inner = inner
        self._guard = guard

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``, and try the host's next address if one cannot be reached.

        Raises:
            UrlForbidden: the policy refuses the host.
            NameNotResolved: the host has no address.
            httpx.TransportError: as the inner transport.
        """
        host = request.url.raw_host.decode("ascii")
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                addresses = await self._guard.resolve(host, port_of(request.url))
        except TimeoutError as error:
            raise httpx.ConnectTimeout("The name lookup took too long.") from error
        *first, last = addresses[:_ADDRESSES_TRIED]
        for address in first:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._ask(_aimed(request, host, address))
        return await self._ask(_aimed(request, host, last))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        """The head of the answer. It may drip, or come after any number of early hints (103), so
        that the time-outs of the inner transport never end it."""
        times = request.extensions.get("timeout", {})
        connect, read = times.get("connect"), times.get("read")
        # TLS has the time of another connection.
        whole = None if connect is None or read is None else 2 * connect + read
        try:
            async with asyncio.timeout(whole):
                return await self._inner.handle_async_request(request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("The head of the answer took too long.") from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _aimed(request: httpx.Request, host: str, address: str) -> httpx.Request:
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host.removesuffix(".")},
    )


def _host(text: str) -> Address | str | None:
    """The address in ``text``. None if readers could disagree about it.

    Only the canonical notation of IPv4 counts. `inet_aton` reads others (octal, hexadecimal, fewer
    than four numbers), and none of them looks like a name.
    """
    text = text.lower()
    if ":" in text:
        try:
            return _unmapped(IPv6Address(text)) if "%" not in text else None
        except ValueError:
            return None
    name = text.removesuffix(".")
    if _NUMERIC_END.fullmatch(name):
        try:
            return IPv4Address(name)
        except ValueError:
            return None
    return name if _NAME.fullmatch(name) and len(name) <= _LONGEST_NAME else None


def _unmapped(address: Address) -> Address:
    """``address``, but ``::ffff:a.b.c.d`` as ``a.b.c.d``: systems connect to it over IPv4."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _carried(address: Address) -> Address:
    """The address that packets to ``address`` reach: behind NAT64, an IPv4 host's."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return _unmapped(address)


def _opening(entry: str) -> _Opening:
    text = entry.strip().lower()
    bad = ConfigurationError(
        f"{SETTING}: {entry.strip()!r} is not understood. Write a host name (minio, minio:9000,"
        " *.corp.example), an address (10.0.0.5) or a range that starts at its first address"
        " (10.0.0.0/24)."
    )
    if "%" in text:
        raise bad
    try:
        return _Opening(ip_network(text))
    except ValueError:
        pass
    wildcard = text.startswith("*.")
    rest = text.removeprefix("*.")
    if set(rest) & set("/?#@\\*"):
        raise bad
    try:
        # A scheme with a default port would hide that port.
        url = httpx.URL(f"allow://{rest}")
    except (httpx.InvalidURL, ValueError):
        raise bad from None
    target = _host(url.raw_host.decode("ascii"))
    if target is None or (url.port is not None and url.port not in _PORTS):
        raise bad
    if isinstance(target, str):
        return _Opening(target, url.port, wildcard)
    if wildcard:
        raise bad
    return _Opening(ip_network(target), url.port)
