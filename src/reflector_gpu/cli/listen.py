"""The socket that the server listens on, and how others reach it."""

from __future__ import annotations

import errno
import os
import socket

import httpx

from reflector_gpu.cli.hints import PROGRAM
from reflector_gpu.errors import ConfigurationError

_BACKLOG = 128  # connections that may wait to be accepted, until uvicorn sets its own
_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not listened on

_HINTS = {
    errno.EADDRINUSE: "another program listens there. Pass another --port, or 0 for a free one",
    errno.EACCES: "ports below 1024 are for root. Pass another --port",
    errno.EADDRNOTAVAIL: "this machine has no such address. Pass --host 0.0.0.0 for all it has",
}


_ANSWER_SECONDS = 2.0  # for a server on this machine


class AlreadyServed(ConfigurationError):
    """A reflector-gpu server listens there."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes a free one.

    Raises:
        ConfigurationError: the port cannot be used; the message says why, and what to do.
    """
    try:
        family, _, _, _, address = _resolved(host, port)
        listener = socket.create_server(
            address, family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::"
        )
        # Connections inherit it. asyncio would set it, but not where Python made the socket without
        # naming its protocol: each answer then waited 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        number = error.errno or 0
        if number == errno.EADDRINUSE and is_ours(url_at(host, port)):
            raise AlreadyServed(
                f"Cannot listen on {_joined(host, port)}: a reflector-gpu server already listens "
                "there. Stop it, pass another --port, or 0 for a free one."
            ) from None
        hint = _HINTS.get(number) or (os.strerror(number) if number > 0 else "no such host")
        raise ConfigurationError(f"Cannot listen on {_joined(host, port)}: {hint}.") from None


def is_ours(url: str) -> bool:
    """Whether a reflector-gpu server answers at ``url``."""
    try:
        answer = httpx.get(url, timeout=_ANSWER_SECONDS, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return False
    return isinstance(answer, dict) and answer.get("name") == PROGRAM


def url_of(listener: socket.socket) -> str:
    """An address at which this machine reaches ``listener``."""
    return url_at(*listener.getsockname()[:2])


def url_at(host: str, port: int) -> str:
    """An address at which this machine reaches what listens on ``host``."""
    return f"http://{_joined(_LOOPBACKS.get(host, host), port)}"


def _resolved(host: str, port: int) -> tuple[int, int, int, str, tuple[str, int]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # Prefer IPv4, which every client tries: to many, "localhost" is 127.0.0.1. The type of the
    # address covers families that do not begin with host and port, as these two do.
    return min(found, key=lambda entry: entry[0] != socket.AF_INET)  # type: ignore[return-value]


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
