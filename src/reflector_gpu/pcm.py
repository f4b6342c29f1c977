"""16-bit samples, as recordings lie on disk and in WAV files: mono, little-endian, no head."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reflector_gpu.types import Samples

SAMPLE_BYTES = 2
_FULL_SCALE = np.float32(32768)


def encoded(samples: Samples) -> bytes:
    """``samples`` in 16 bits each; what is outside [-1, 1) is clipped."""
    levels = np.clip(np.round(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return levels.astype("<i2").tobytes()


def decoded(data: bytes) -> Samples:
    """The ``float32[n]`` in [-1, 1) that ``data`` holds."""
    samples: Samples = np.divide(np.frombuffer(data, "<i2"), _FULL_SCALE, dtype=np.float32)
    return samples


class PcmFile:
    """A recording in an open file, which needs no name and stays the caller's.

    It is read, not mapped: pages of a mapping count as memory of the process.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._owned: object = None
        self.length = os.fstat(descriptor).st_size // SAMPLE_BYTES

    @classmethod
    def duplicate(cls, descriptor: int) -> PcmFile:
        """One that stays open while it is referred to, whatever becomes of the caller's file."""
        file = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        found = cls(file.fileno())
        found._owned = file
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_owned": None}

    def read(self, first: int, last: int) -> Samples:
        """``float32[last - first]``: the samples from ``first`` to before ``last``.

        What would lie outside the recording is silent.
        """
        return _stretch(self._bytes, first, last, self.length)

    def in_memory(self) -> PcmBytes:
        """All of it, which can leave this machine."""
        pieces: list[bytes] = []
        here = 0
        # All at once but for days of audio, of which a read gives no more than 2 GB: a copy of a
        # recording is a second one in memory.
        while piece := self._bytes(here, SAMPLE_BYTES * self.length - here):
            pieces.append(piece)
            here += len(piece)
        return PcmBytes(b"".join(pieces))  # joining one piece copies nothing

    def _bytes(self, start: int, count: int) -> bytes:
        return os.pread(self.descriptor, count, start)


@dataclass(frozen=True, slots=True)
class PcmBytes:
    """A recording in memory."""

    data: bytes

    @property
    def length(self) -> int:
        return len(self.data) // SAMPLE_BYTES

    def read(self, first: int, last: int) -> Samples:
        """As `PcmFile.read`."""
        return _stretch(self._bytes, first, last, self.length)

    def _bytes(self, start: int, count: int) -> bytes:
        return self.data[start : start + count]


def _stretch(read: Callable[[int, int], bytes], first: int, last: int, length: int) -> Samples:
    """Samples of a recording of ``length``, whose bytes ``read(start, count)`` gives."""
    samples = np.zeros(last - first, np.float32)
    begin, end = max(first, 0), min(last, length)
    if begin < end:
        found = decoded(read(SAMPLE_BYTES * begin, SAMPLE_BYTES * (end - begin)))
        samples[begin - first : end - first] = found
    return samples
