"""The connections to hosts that clients name, beneath a `GuardedTransport`."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


def direct_transport() -> httpx.AsyncHTTPTransport:
    """Opens any number of connections, keeps none for later, and uses no proxy."""
    keep_none = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=_public_authorities(), trust_env=False, limits=keep_none)


@cache
def _public_authorities() -> ssl.SSLContext:
    """What httpx makes for each transport. One is enough: to read the certificates takes 40 ms."""
    return httpx.create_ssl_context(trust_env=False)
