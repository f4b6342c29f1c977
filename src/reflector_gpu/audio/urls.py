"""Credentials, origins and redirects of clients' URLs, for downloads and uploads."""

from __future__ import annotations

import base64

import httpx

from reflector_gpu.audio.guard import parse_url, port_of


def credentials(url: httpx.URL) -> str | None:
    """The user and password in ``url`` as the value of an ``Authorization`` header."""
    if not url.userinfo:
        return None
    pair = f"{url.username}:{url.password}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def origin_of(url: httpx.URL) -> tuple[str, bytes, int]:
    """The scheme, host and port of ``url``, which see what is sent there."""
    return url.scheme, url.raw_host, port_of(url)


def redirected(url: httpx.URL, location: str) -> httpx.URL:
    """Where the ``Location`` of an answer from ``url`` leads. Never use a password in it.

    Raises:
        UrlForbidden: its scheme is not http or https.
        ValueError: it is no URL.
    """
    if not location:
        raise ValueError("there is no Location")
    try:
        return parse_url(str(url.join(location)))
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
