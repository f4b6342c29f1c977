"""Matroska and WebM (RFC 9559) that nest, compress and claim."""

from __future__ import annotations

import struct
import zlib

_HEAD = "1A45DFA3"
_SEGMENT, _INFO, _TRACKS, _CLUSTER, _TAGS = (
    "18538067",
    "1549A966",
    "1654AE6B",
    "1F43B675",
    "1254C367",
)
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7


def element(identifier: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes.fromhex(identifier) + struct.pack(">Q", 1 << 56 | len(body)) + body


def number(identifier: str, value: int) -> bytes:
    return element(identifier, value.to_bytes(8, "big"))


def pcm_track(rate: float, *, encodings: bytes = b"", index: int = 1) -> bytes:
    """16-bit mono."""
    return element(
        "AE",
        number("D7", index),
        number("73C5", index),
        number("83", 2),
        element("86", b"A_PCM/INT/LIT"),
        element("E1", element("B5", struct.pack(">d", rate)), number("9F", 1), number("6264", 16)),
        encodings,
    )


def file(tracks: bytes, *segment: bytes) -> bytes:
    head = element(_HEAD, element("4282", b"matroska"), number("4287", 4), number("4285", 2))
    info = element(_INFO, number("2AD7B1", 1_000_000))
    return (
        head
        + bytes.fromhex(_SEGMENT)
        + _UNKNOWN_SIZE
        + info
        + element(_TRACKS, tracks)
        + b"".join(segment)
    )


def block(content: bytes, milliseconds: int = 0) -> bytes:
    return element("A3", b"\x81" + struct.pack(">hB", milliseconds, 0x80) + content)


def compressed(blocks: int, size: int) -> bytes:
    """``blocks`` blocks of ``size`` zeros at 2 kHz, each a thousandth of that in the file."""
    zlib_of_blocks = element(
        "6D80",
        element("6240", number("5031", 0), number("5032", 1), element("5034", number("4254", 0))),
    )
    content = zlib.compress(bytes(size), 9)
    clusters = (
        element(_CLUSTER, number("E7", 1000 * size // 4_000 * index), block(content))
        for index in range(blocks)
    )
    return file(pcm_track(2_000, encodings=zlib_of_blocks), *clusters)


def deep_tags(depth: int) -> bytes:
    """Tags within tags."""
    inner = b""
    for _ in range(depth):
        inner = element("67C8", element("45A3", b"x"), inner)
    tags = element(_TAGS, element("7373", inner))
    return file(pcm_track(16_000), tags, element(_CLUSTER, number("E7", 0), block(bytes(3_200))))


def deep_clusters(depth: int) -> bytes:
    """Elements of unknown size, each within the one before."""
    opened = (bytes.fromhex(_CLUSTER) + _UNKNOWN_SIZE) * depth
    return file(pcm_track(16_000), opened, block(bytes(3_200)))


def many_tags(count: int) -> bytes:
    """``count`` tags, each under a name of its own."""
    tags = b"".join(
        element("67C8", element("45A3", b"%d" % index), element("4487", b"x"))
        for index in range(count)
    )
    sound = element(_CLUSTER, number("E7", 0), block(bytes(3_200)))
    return file(pcm_track(16_000), element(_TAGS, element("7373", tags)), sound)


def many_tracks(count: int) -> bytes:
    tracks = b"".join(pcm_track(16_000, index=index) for index in range(1, count + 1))
    return file(tracks, element(_CLUSTER, number("E7", 0), block(bytes(3_200))))


def claims_everything() -> bytes:
    """A block of 2**56 bytes, of which a hundred are there."""
    size = b"\x01" + b"\xff" * 6 + b"\xfe"
    return file(
        pcm_track(16_000), bytes.fromhex(_CLUSTER) + _UNKNOWN_SIZE + b"\xa3" + size + bytes(100)
    )
