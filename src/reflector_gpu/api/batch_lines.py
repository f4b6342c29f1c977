"""The lines of a batch's file, read one at a time: a file may be larger than memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import from_json

from reflector_gpu.errors import InvalidRequest

Read = Callable[[int], bytes]
"""Gives the next bytes of a file, at most so many; none at its end."""

_MOST = 50_000
_LONGEST = 30_000_000  # bytes
_PIECE = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """A request of a batch."""

    custom_id: str
    url: str
    body: dict[str, JsonValue]


def lines_of(read: Read, endpoint: str) -> Iterator[Line]:
    """The requests in a file.

    Raises:
        InvalidRequest: a line is not one to ``endpoint``.
    """
    for number, text in enumerate(_split(read), 1):
        if not text.strip():
            continue
        try:
            sent = from_json(text, allow_inf_nan=False)
            custom_id, url, body = sent["custom_id"], sent["url"], sent["body"]
        except (ValueError, LookupError, TypeError):
            sent, custom_id, url, body = {}, None, None, None
        if not isinstance(custom_id, str) or not isinstance(body, dict) or url != endpoint:
            raise _refused(
                f'Line {number} should be {{"custom_id": "...", "method": "POST", '
                f'"url": "{endpoint}", "body": {{...}}}}.'
            )
        if sent.get("method", "POST") != "POST" or body.get("stream"):
            raise _refused(f"Line {number}: the method is POST, and nothing is streamed.")
        yield Line(custom_id, url, body)


def count_lines(read: Read, endpoint: str) -> int:
    """How many requests are in a file, after a check of all of them.

    Raises:
        InvalidRequest: one is not valid, there are too many, or there are none.
    """
    names: set[bytes] = set()
    count = 0
    for count, line in enumerate(lines_of(read, endpoint), 1):
        if count > _MOST:
            break
        names.add(hashlib.blake2b(line.custom_id.encode(), digest_size=16).digest())
        if len(names) < count:
            raise _refused("Two lines have the same custom_id.")
    if not 0 < count <= _MOST:
        raise _refused(f"A batch has 1 to {_MOST} lines.")
    return count


def _split(read: Read) -> Iterator[bytes]:
    rest = bytearray()
    while piece := read(_PIECE):
        rest += piece
        if b"\n" in piece:
            *whole, last = rest.split(b"\n")
            yield from map(bytes, whole)
            rest = last
        if len(rest) > _LONGEST:
            raise _refused(
                f"A line of a batch has at most {_LONGEST // 1_000_000} MB; have longer recordings "
                "fetched by their 'audio_file_url'."
            )
    yield bytes(rest)


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="input_file_id")
