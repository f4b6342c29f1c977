"""WAV files whose samples need no conversion, read without a demuxer.

16-bit mono at 16 kHz is what live clients send, in clips so short that FFmpeg takes longer to
open them than everything else takes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from reflector_gpu.audio.spool import SpoolReader
from reflector_gpu.pcm import SAMPLE_BYTES, decoded
from reflector_gpu.types import SAMPLE_RATE, Samples

_SECOND_BYTES = SAMPLE_BYTES * SAMPLE_RATE
_FORMAT = struct.pack(
    "<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, _SECOND_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES
)
_TO_THE_END = 0xFFFFFFFF  # the size that a writer claims if it cannot come back to the head
_SAMPLES_AT = 12 + len(_FORMAT) + 8  # behind the heads of the file and of the samples

STREAM_HEAD = struct.pack("<4sI4s", b"RIFF", _TO_THE_END, b"WAVE") + _FORMAT
STREAM_HEAD += struct.pack("<4sI", b"data", _TO_THE_END)
"""Makes a WAV file of as many 16-bit samples as follow, mono at 16 kHz."""


_HEAD = 12  # bytes that tell a WAV file
_CONSTANT = (1, 3, 6, 7, 0xFFFE)  # formats in which every sample takes as many bytes
LIVE_BYTES = 2_000_000_000
"""Writers that cannot come back to the head claim so many bytes, or more."""
_MOST_PARTS = 100


def wav_end(reader: SpoolReader) -> int | None:
    """Where another WAV file begins behind the one that ``reader`` is at; None: nowhere."""
    head = reader.peek(0, _HEAD)
    if not _is_wav(head):
        return None
    end = 8 + int.from_bytes(head[4:8], "little")
    for offset in (end, end + end % 2):  # parts have an even length, which some forget
        if offset > _HEAD and _is_wav(reader.peek(offset, _HEAD)):
            return offset
    return None


def claimed_wav_seconds(reader: SpoolReader) -> float | None:
    """The length that the head gives; None if it was written before the length was known."""
    offset, rate = _HEAD, 0
    for _ in range(_MOST_PARTS):
        head = reader.peek(offset, 8)
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"fmt ":
            kind, _, _, rate = struct.unpack("<HHII", reader.peek(offset + 8, 12).ljust(12, b"\0"))
            rate = rate if kind in _CONSTANT else 0
        elif head[:4] == b"data":
            return size / rate if rate and 0 < size < LIVE_BYTES else None
        elif len(head) < 8:
            return None
        offset += 8 + size + size % 2
    return None


def _is_wav(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:] == b"WAVE"


class PlainWav:
    """The samples of a recording that has all arrived."""

    def __init__(self, reader: SpoolReader, size: int) -> None:
        self._reader = reader
        self._size = size

    @classmethod
    def of(cls, reader: SpoolReader) -> PlainWav | None:
        """The recording, read from its start. None if anything is unusual: that is for FFmpeg."""
        if reader.total is None:
            return None
        head = reader.read(_SAMPLES_AT)
        size = int.from_bytes(head[-4:], "little")
        usual = (
            head[:4] == b"RIFF"
            and head[8:-8] == b"WAVE" + _FORMAT
            and head[-8:-4] == b"data"
            and 0 < size <= reader.total - _SAMPLES_AT
            and size % SAMPLE_BYTES == 0
        )
        if usual:
            return cls(reader, size)
        reader.seek(0)
        return None

    @property
    def seconds(self) -> float:
        return self._size / _SECOND_BYTES

    @property
    def is_all(self) -> bool:
        """Whether nothing comes behind the samples."""
        return _SAMPLES_AT + self._size == self._reader.total

    def blocks(self, length: int) -> Iterator[Samples]:
        """All samples, ``length`` at a time."""
        for first in range(0, self._size, SAMPLE_BYTES * length):
            data = self._reader.read(min(SAMPLE_BYTES * length, self._size - first))
            if len(data) % SAMPLE_BYTES or not data:
                return  # the file became shorter while it was read
            yield decoded(data)
