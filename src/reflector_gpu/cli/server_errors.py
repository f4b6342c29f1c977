"""Why a server did not do what it was asked: in its own words, or in the operating system's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx

from reflector_gpu.errors import ReflectorError, UpstreamFailed, UpstreamTimeout

_PASSING = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
"""Statuses of a server that starts, or of a proxy in front of one that is not there."""


class ServerAway(UpstreamFailed):
    """The server does not answer now, and may do so later."""


@contextmanager
def explained(server: httpx.URL) -> Iterator[None]:
    """Have failures to talk to ``server`` say what went wrong.

    Raises:
        ServerAway, UpstreamTimeout
    """
    try:
        yield
    except httpx.TimeoutException as error:
        raise UpstreamTimeout("The server does not answer in time.") from error
    except httpx.ConnectError as error:
        raise ServerAway(f"The server at {server} cannot be reached: {reason(error)}.") from error
    except httpx.HTTPError as error:
        raise ServerAway("The connection to the server broke.") from error


def refusal(status: int, body: bytes) -> ReflectorError:
    """What the server said in an error body or event."""
    try:
        answer = json.loads(body)
        message = answer["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = f"The server answered {status}; is it a reflector-gpu?"
    if status == HTTPStatus.UNAUTHORIZED:
        message = f"{message} Pass the server's key with --key or REFLECTOR_APIKEY."
    return ServerAway(message) if status in _PASSING else UpstreamFailed(message)


def reason(error: BaseException) -> str:
    """Why the connection failed, in the operating system's words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return str(error) or "no connection"
