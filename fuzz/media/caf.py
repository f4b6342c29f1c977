"""Apple's Core Audio Format and AIFF with tables and rates that cannot be."""

from __future__ import annotations

import struct


def packet_table(packets: int) -> bytes:
    """AAC whose table claims ``packets`` packets and holds ten bytes."""
    form = struct.pack(">d4sIIIII", 16_000, b"aac ", 0, 0, 1024, 1, 0)
    table = struct.pack(">qqii", packets, packets * 1024, 0, 0) + bytes(10)
    return b"caff\0\1\0\0" + b"".join(
        (_chunk(b"desc", form), _chunk(b"pakt", table), _chunk(b"data", bytes(1_000)))
    )


def no_rate() -> bytes:
    """Samples at a rate that is no number."""
    form = struct.pack(">d4sIIIII", float("nan"), b"lpcm", 0, 2, 1, 1, 16)
    return b"caff\0\1\0\0" + _chunk(b"desc", form) + _chunk(b"data", bytes(32_000))


def aiff_of_rate(exponent: int) -> bytes:
    """AIFF tells its rate in extended precision: here 2 to the power of ``exponent``."""
    rate = struct.pack(">HQ", 16_383 + exponent, 1 << 63)
    common = b"COMM" + struct.pack(">IhIh", 18, 1, 16_000, 16) + rate
    sound = b"SSND" + struct.pack(">III", 8 + 32_000, 0, 0) + bytes(32_000)
    body = b"AIFF" + common + sound
    return b"FORM" + struct.pack(">I", len(body)) + body


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">q", len(content)) + content
