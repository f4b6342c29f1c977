"""Events of the Wyoming protocol: a line of JSON, and perhaps more JSON and bytes.

https://github.com/OHF-Voice/wyoming has the protocol, and the library that Home Assistant uses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from reflector_gpu.errors import InvalidRequest

_VERSION = "1.5.4"
_MOST_BYTES = 2**20  # of the JSON of an event, and of its payload
LINE_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Event:
    """One message, in either direction."""

    type: str
    data: Mapping[str, object] = field(default_factory=dict)
    payload: bytes = b""

    def text(self, name: str) -> str | None:
        """The field ``name``, if it is text that is not empty."""
        value = self.data.get(name)
        return value if isinstance(value, str) and value else None


async def read(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None at the end.

    Raises:
        InvalidRequest: these bytes are no event, or too large. What follows cannot be read.
        ConnectionError: the other side is gone.
    """
    try:
        line = await reader.readline()
    except ValueError:
        raise InvalidRequest("The line of an event is too long.") from None
    if not line:
        return None
    head = _object(line)
    kind = head.get("type")
    if not isinstance(kind, str):
        raise InvalidRequest("An event needs a type.")
    inline = head.get("data")
    data = dict(inline) if isinstance(inline, dict) else {}
    if length := _length(head, "data_length"):
        data |= _object(await _exactly(reader, length))
    payload = await _exactly(reader, _length(head, "payload_length"))
    return Event(kind, data, payload)


def written(event: Event) -> bytes:
    """``event`` as bytes."""
    data = json.dumps(event.data).encode() if event.data else b""
    head: dict[str, object] = {"type": event.type, "version": _VERSION}
    if data:
        head["data_length"] = len(data)
    return json.dumps(head).encode() + b"\n" + data


def _object(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("An event is a JSON object.")
    return found


def _length(head: Mapping[str, object], name: str) -> int:
    value = head.get(name) or 0
    if not isinstance(value, int) or not 0 <= value <= _MOST_BYTES:
        raise InvalidRequest(f"'{name}' must be a number of bytes, at most {_MOST_BYTES}.")
    return value


async def _exactly(reader: asyncio.StreamReader, length: int) -> bytes:
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise ConnectionResetError from None
