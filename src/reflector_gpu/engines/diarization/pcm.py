"""A decoded recording in a file: 16-bit samples, mono, `SAMPLE_RATE`, nothing before or after."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from reflector_gpu.engines.diarization.base import Recording
from reflector_gpu.types import Samples

SCALE = np.float32(1 / 32768)
"""What a 16-bit sample is multiplied by to lie in [-1, 1)."""


class PcmFile:
    """A `Pcm` in an open file, which needs no name and stays the caller's.

    It is read, not mapped: pages of a mapping count as memory of the process.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._owned: object = None
        self.length = os.fstat(descriptor).st_size // 2

    @classmethod
    def duplicate(cls, descriptor: int) -> PcmFile:
        """One that stays open while it is referred to, whatever becomes of the caller's."""
        file = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        found = cls(file.fileno())
        found._owned = file
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_owned": None}

    def read(self, first: int, last: int) -> Samples:
        samples = np.zeros(last - first, np.float32)
        begin, end = max(first, 0), min(last, self.length)
        if begin < end:
            data = os.pread(self.descriptor, 2 * (end - begin), 2 * begin)
            samples[begin - first : end - first] = np.frombuffer(data, "<i2") * SCALE
        return samples


@dataclass(frozen=True, slots=True, eq=False)
class FileRecording(Recording):
    """A `Recording` whose file crosses to a worker process with it."""

    pcm: PcmFile

    def fileno(self) -> int:
        return self.pcm.descriptor

    def reopened(self, descriptor: int) -> FileRecording:
        """The same, read from ``descriptor``."""
        return FileRecording(PcmFile(descriptor), self.speech)
