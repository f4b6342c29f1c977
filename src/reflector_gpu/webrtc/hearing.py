"""A peer's audio as one stream of samples, as long as the time that it took."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reflector_gpu.realtime.audio_formats import Resampler
from reflector_gpu.types import SAMPLE_RATE, Samples

RATE = 48_000
"""Samples a second of Opus, and ticks of its clock."""

_LONGEST_GAP = RATE
"""Samples of silence that stand for what is missing between two frames, at most."""

_LONGEST_SILENCE = 30 * RATE
"""Samples of silence that are heard while nothing comes, at most. Any turn ends by then."""


class Hearing:
    """Fills what a peer leaves out with silence.

    Peers send nothing while a microphone is muted or, to save bandwidth, while nobody speaks. Some
    packets get lost. Without silence in their places no turn would end then.
    """

    def __init__(self) -> None:
        self._resample = Resampler(RATE, SAMPLE_RATE)
        self._next: int | None = None
        """When the next frame begins if nothing is missing, by the peer's clock."""
        self._filled = 0
        """Samples of silence since the last frame."""

    def frame(self, stereo: npt.NDArray[np.int16], begin: int) -> Samples:
        """What is heard with a frame: samples that alternate between left and right, the first of
        them at ``begin`` by the peer's clock."""
        mono = stereo.reshape(-1, 2).mean(axis=1, dtype=np.float32) / np.float32(32768)
        missing = 0 if self._next is None else begin - self._next - self._filled
        gap = min(max(missing, 0), _LONGEST_GAP)
        self._next, self._filled = begin + len(mono), 0
        return self._resample(np.concatenate([np.zeros(gap, np.float32), mono]))

    def silence(self, seconds: float) -> Samples:
        """What is heard while nothing has come for ``seconds``."""
        wanted = round(seconds * RATE) if self._next is not None else 0
        length = min(wanted, _LONGEST_SILENCE - self._filled)
        self._filled += length
        return self._resample(np.zeros(length, np.float32))
