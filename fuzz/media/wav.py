"""WAV files whose heads lie."""

from __future__ import annotations

import struct

_SECOND = bytes(32_000)


def head(
    *,
    kind: int = 1,
    channels: int = 1,
    rate: int = 16_000,
    align: int = 2,
    bits: int = 16,
    riff_size: int = 0xFFFFFFFF,
) -> bytes:
    """Everything before the samples' own head. Each field is what it is told to be."""
    second = min(rate * align, 0xFFFFFFFF)
    form = struct.pack("<HHIIHH", kind, channels, rate, second, align, bits)
    return b"RIFF" + struct.pack("<I", riff_size) + b"WAVEfmt " + struct.pack("<I", 16) + form


def samples(content: bytes = _SECOND, *, claimed: int | None = None) -> bytes:
    size = len(content) if claimed is None else claimed
    return b"data" + struct.pack("<I", size) + content


def liars() -> dict[str, bytes]:
    """Files of a second, each with one lie."""
    return {
        "size of 4 GB": head() + samples(claimed=0xFFFFFFFE),
        "size of nothing": head(riff_size=0) + samples(claimed=0),
        "rate of 0": head(rate=0) + samples(),
        "rate of 4 GHz": head(rate=0xFFFFFFFF) + samples(),
        "rate of 2 kHz": head(rate=2_000) + samples(),
        "65,535 channels": head(channels=0xFFFF) + samples(),
        "no channel": head(channels=0) + samples(),
        "frames of no bytes": head(align=0) + samples(),
        "samples of 255 bits": head(bits=255) + samples(),
        "no bits": head(bits=0) + samples(),
        "MP3 inside": head(kind=0x55) + samples(b"\xff\xfb\x10\xc4" * 8_000),
        "ADPCM of no block": head(kind=2, align=0, bits=4) + samples(),
        "chunk that ends before it begins": head() + b"LIST" + b"\xff" * 4 + samples(),
    }


def endless_chunks(count: int) -> bytes:
    """No samples, behind ever more heads."""
    return head() + b"JUNK\0\0\0\0" * count + samples()


def joined(count: int) -> bytes:
    """``count`` files of one sample each, one behind the other, as some recorders write them."""
    one = head(riff_size=38) + samples(b"\1\0")
    return one * count
