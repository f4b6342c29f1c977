"""Ogg (RFC 3533) of many streams, and of comments larger than the sound."""

from __future__ import annotations

import struct

from fuzz.media.flac import comments

_OPUS_HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 48_000, 0, 0)
_NO_TAGS = b"OpusTags" + struct.pack("<II", 0, 0)
_SILENCE = b"\xf8\xff\xfe"
"""20 milliseconds of Opus."""
_FIRST, _LAST, _CONTINUED = 2, 4, 1
_PAGE = 255 * 255


def page(
    serial: int, number: int, packets: list[bytes], *, flags: int = 0, position: int = 0
) -> bytes:
    """A page of whole packets."""
    sizes = b"".join(b"\xff" * (len(one) // 255) + bytes([len(one) % 255]) for one in packets)
    return _page(serial, number, sizes, b"".join(packets), flags, position)


def many_streams(count: int) -> bytes:
    """``count`` streams side by side, each with its head and 20 milliseconds."""
    heads = (page(serial, 0, [_OPUS_HEAD], flags=_FIRST) for serial in range(count))
    tags = (page(serial, 1, [_NO_TAGS]) for serial in range(count))
    sound = (
        page(serial, 2, [_SILENCE], flags=_LAST, position=960 + 312) for serial in range(count)
    )
    return b"".join((*heads, *tags, *sound))


def chained(count: int) -> bytes:
    """``count`` streams, one behind the other, as web radios send them."""
    return b"".join(
        page(serial, 0, [_OPUS_HEAD], flags=_FIRST)
        + page(serial, 1, [_NO_TAGS])
        + page(serial, 2, [_SILENCE], flags=_LAST, position=960 + 312)
        for serial in range(count)
    )


def many_comments(count: int) -> bytes:
    """``count`` tags, each under a name of its own, over as many pages as they take."""
    tags = b"OpusTags" + comments(count)
    pieces = [tags[at : at + _PAGE] for at in range(0, len(tags), _PAGE)]
    pages = []
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        sizes = b"\xff" * (len(piece) // 255) + (bytes([len(piece) % 255]) if last else b"")
        flags = 0 if number == 1 else _CONTINUED
        pages.append(_page(0, number, sizes, piece, flags, 0 if last else -1))
    sound = page(0, len(pieces) + 1, [_SILENCE] * 50, flags=_LAST, position=48_000)
    return page(0, 0, [_OPUS_HEAD], flags=_FIRST) + b"".join(pages) + sound


def jump(seconds: int) -> bytes:
    """A second of sound whose next page claims to be ``seconds`` later."""
    return (
        page(0, 0, [_OPUS_HEAD], flags=_FIRST)
        + page(0, 1, [_NO_TAGS])
        + page(0, 2, [_SILENCE] * 50, position=48_000)
        + page(0, 3, [_SILENCE] * 50, flags=_LAST, position=48_000 * (seconds + 1))
    )


def _page(serial: int, number: int, sizes: bytes, body: bytes, flags: int, position: int) -> bytes:
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, serial, number, 0, len(sizes))
    whole = head + sizes + body
    return whole[:22] + struct.pack("<I", _checksum(whole)) + whole[26:]


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 1 << 31 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


_TABLE = _table()


def _checksum(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value
