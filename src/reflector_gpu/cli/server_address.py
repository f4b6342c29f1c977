"""How ``--server`` and ``--key`` are read."""

from __future__ import annotations

import httpx

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.version import __version__


def base_url(server: str) -> str:
    """The address of ``server``, which may have been typed with ``/v1``.

    Raises:
        InvalidRequest: it is no http(s) URL.
    """
    base = server.rstrip("/").removesuffix("/v1")
    if not base.lower().startswith(("http://", "https://")):
        raise InvalidRequest(f"--server must begin with http:// or https://: {server}")
    try:
        httpx.URL(base)
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"The server's URL is not valid: {error}") from None
    return base


def headers(keys: str | None) -> httpx.Headers:
    """The headers of each request, with one of ``keys`` if there are any.

    Raises:
        InvalidRequest: no header can carry it.
    """
    found = httpx.Headers({"User-Agent": f"reflector-gpu/{__version__}"}, encoding="utf-8")
    if key := first_key(keys):
        found["Authorization"] = f"Bearer {key}"
    return found


def first_key(keys: str | None) -> str:
    """One of ``keys``: a server's own setting may hold several, any of which will do.

    Raises:
        InvalidRequest: no header can carry it.
    """
    key = (keys or "").split(",")[0].strip(" \t\r\n")
    if any(ord(character) < ord(" ") for character in key):
        raise InvalidRequest("The key is not valid: there is a line break or the like in it.")
    return key
