"""MP3 behind tags (ID3v2.3) that are larger than the sound."""

from __future__ import annotations

import struct

from fuzz.media.flac import black_png

_SILENCE = (b"\xff\xfb\x10\xc4" + bytes(100)) * 100
"""A hundred frames of MPEG-1 layer III: 32 kb/s at 44.1 kHz, mono."""


def tagged(tags: bytes, *, claimed: int | None = None) -> bytes:
    """Silence behind a tag that says it has ``claimed`` bytes, by default as many as it has."""
    size = len(tags) if claimed is None else claimed
    return (
        b"ID3\3\0\0" + bytes(size >> 7 * place & 0x7F for place in (3, 2, 1, 0)) + tags + _SILENCE
    )


def frame(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack(">IH", len(content), 0) + content


def with_cover(width: int, height: int) -> bytes:
    """A picture that takes 8 bytes a pixel once it is decoded."""
    return tagged(frame(b"APIC", b"\0image/png\0\3\0" + black_png(width, height)))


def with_texts(count: int) -> bytes:
    """``count`` texts, each under a name of its own."""
    return tagged(b"".join(frame(b"TXXX", b"\0%d\0x" % number) for number in range(count)))


def with_chapters(count: int) -> bytes:
    times = struct.pack(">IIII", 0, 1, 0xFFFFFFFF, 0xFFFFFFFF)
    return tagged(b"".join(frame(b"CHAP", b"%d\0" % number + times) for number in range(count)))
