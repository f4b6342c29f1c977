"""Recordings as 16-bit samples, mono and little-endian, as on disk and in WAV files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reflector_gpu.types import Samples

SAMPLE_BYTES = 2
_FULL_SCALE = np.float32(32768)


def encoded(samples: Samples) -> bytes:
    """``samples`` as 16 bits each. Values outside [-1, 1) are clipped."""
    levels = np.clip(np.round(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return levels.astype("<i2").tobytes()


def decoded(data: bytes) -> Samples:
    """The ``float32[n]`` in [-1, 1) that ``data`` holds."""
    samples: Samples = np.divide(np.frombuffer(data, "<i2"), _FULL_SCALE, dtype=np.float32)
    return samples


class PcmFile:
    """A recording in an open file, which the caller closes.

    It is read, not mapped, because pages of a mapping count as memory of the process.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._owned: object = None
        self.length = os.fstat(descriptor).st_size // SAMPLE_BYTES

    @classmethod
    def duplicate(cls, descriptor: int) -> PcmFile:
        """A recording that stays open as long as it is used, even if the caller closes the file."""
        file = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        found = cls(file.fileno())
        found._owned = file
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_owned": None}

    def read(self, first: int, last: int) -> Samples:
        """``float32[last - first]``: the samples from ``first`` to before ``last``.

        Samples outside the recording are 0.
        """
        return _stretch(self._bytes, first, last, self.length)

    def in_memory(self) -> PcmBytes:
        """The whole recording, in a form that can be sent to another machine."""
        pieces: list[bytes] = []
        here = 0
        # One read gives all of it, unless it has over 2 GB. Joining several pieces needs twice the
        # memory.
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
    """Samples of a recording of ``length`` samples, whose bytes ``read(start, count)`` gives."""
    samples = np.zeros(last - first, np.float32)
    begin, end = max(first, 0), min(last, length)
    if begin < end:
        found = decoded(read(SAMPLE_BYTES * begin, SAMPLE_BYTES * (end - begin)))
        samples[begin - first : end - first] = found
    return samples
