"""Audio that is far longer than its size tells, by FLAC's frames of one constant (RFC 9639)."""

from __future__ import annotations

import struct

_BLOCK = 65_535  # samples of a frame, the most


def thin_flac(seconds: float, rate: int = 2_000) -> bytes:
    """Silence: 14 bytes are half a minute of it."""
    frames = int(seconds * rate) // _BLOCK + 1
    about = rate << 44 | 15 << 36 | frames * _BLOCK  # one channel, 16 bits
    info = struct.pack(">HH", _BLOCK, _BLOCK) + bytes(6) + about.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + bytes((0x80, 0, 0, len(info))) + info + b"".join(map(_frame, range(frames)))


def _frame(number: int) -> bytes:
    coded = chr(number).encode() if number else b"\0"  # as UTF-8 codes it
    head = b"\xff\xf8\x70\x08" + coded + struct.pack(">H", _BLOCK - 1)
    head += bytes((_crc(head, 0x07, 8),))
    body = head + bytes(3)  # a subframe of the constant 0
    return body + struct.pack(">H", _crc(body, 0x8005, 16))


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << (bits - 8)
        for _ in range(8):
            crc = (crc << 1 ^ (polynomial if crc >> (bits - 1) else 0)) & ((1 << bits) - 1)
    return crc
