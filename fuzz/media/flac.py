"""FLAC (RFC 9639): frames of silence, half a minute in a few bytes, and all that heads carry."""

from __future__ import annotations

import struct
import zlib

_BLOCK = 65_535  # samples, the most that a frame holds
_PICTURE, _COMMENT, _SEEK_TABLE, _LAST = 6, 4, 3, 0x80
_PNG_ROWS = 1_000_000  # bytes of zeros that are compressed once and then repeated


def constant(seconds: float, rate: int = 2_000, *, metadata: bytes = b"") -> bytes:
    """Silence of about ``seconds``: 14 bytes for each 32 seconds at 2 kHz.

    ``metadata`` is made of `block`.
    """
    frames = max(1, round(seconds * rate / _BLOCK))
    form = (rate << 44 | 15 << 36 | _BLOCK * frames).to_bytes(8, "big")  # mono of 16 bits
    information = struct.pack(">HH", _BLOCK, _BLOCK) + bytes(6) + form + bytes(16)
    head = bytes([0 if metadata else _LAST]) + len(information).to_bytes(3, "big") + information
    return b"fLaC" + head + metadata + b"".join(map(_silent_frame, range(frames)))


def block(kind: int, content: bytes) -> bytes:
    """A block of metadata, the last one."""
    return bytes([_LAST | kind]) + len(content).to_bytes(3, "big") + content


def with_cover(width: int, height: int) -> bytes:
    """A few seconds of sound behind a picture that takes 8 bytes a pixel once it is decoded."""
    return constant(30, metadata=block(_PICTURE, picture(black_png(width, height))))


def picture(png: bytes) -> bytes:
    """The content of a block of kind 6, which Ogg carries in base64."""
    kind = b"image/png"
    head = struct.pack(">II", 3, len(kind)) + kind + struct.pack(">I", 0)
    return head + struct.pack(">IIIII", 1, 1, 32, 0, len(png)) + png


def with_comments(count: int) -> bytes:
    """``count`` tags, each under a name of its own."""
    return constant(30, metadata=block(_COMMENT, comments(count)))


def comments(count: int) -> bytes:
    """Vorbis comments, as FLAC, Ogg and Opus carry them."""
    tags = (b"%d=x" % number for number in range(count))
    listed = b"".join(struct.pack("<I", len(tag)) + tag for tag in tags)
    return struct.pack("<II", 0, count) + listed


def with_seek_points(count: int) -> bytes:
    points = b"".join(struct.pack(">QQH", n, n, 1) for n in range(count))
    return constant(30, metadata=block(_SEEK_TABLE, points))


def black_png(width: int, height: int) -> bytes:
    """A PNG of 16-bit RGBA. It is compressed a thousandfold, quickly: all of it is the same."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    pixels = _compressed_zeros(height * (1 + 8 * width))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        )
    )


def _compressed_zeros(count: int) -> bytes:
    """``zlib.compress(bytes(count))``, or nearly."""
    whole, rest = divmod(count, _PNG_ROWS)
    once = zlib.compressobj(9)
    start = once.compress(b"") + once.flush(zlib.Z_FULL_FLUSH)
    repeated = once.compress(bytes(_PNG_ROWS)) + once.flush(zlib.Z_FULL_FLUSH)
    end = once.compress(bytes(rest)) + once.flush()
    adler = (count % 65_521) << 16 | 1  # of nothing but zeros
    return start + repeated * whole + end[:-4] + struct.pack(">I", adler)


def _silent_frame(number: int) -> bytes:
    coded = chr(number).encode("utf-8", "surrogatepass")  # as FLAC counts frames
    head = b"\xff\xf8\x70\x08" + coded + struct.pack(">H", _BLOCK - 1)
    head += bytes([_checksum(head, 8, 0x07)])
    frame = head + b"\0" + struct.pack(">h", 0)
    return frame + struct.pack(">H", _checksum(frame, 16, 0x8005))


def _checksum(data: bytes, width: int, polynomial: int) -> int:
    """The remainder that FLAC puts behind heads (8 bits) and frames (16)."""
    top, mask, value = 1 << (width - 1), (1 << width) - 1, 0
    for byte in data:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value
