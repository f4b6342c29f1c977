"""Kaldi's log mel energies in NumPy, on which speaker embeddings are trained.

They are those of torchaudio's `compliance.kaldi.fbank` and of kaldi-native-fbank, without dither.
There is a window of 25 ms every 10 ms, and none beyond the end. Its mean is removed, it is
pre-emphasised, and its power spectrum is summed in 80 triangles between 20 Hz and 8 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import SAMPLE_RATE, Samples

HOP = 160
"""Samples from one frame to the next."""

WINDOW = 400
"""The samples of a frame."""

BANDS = 80

Frames: TypeAlias = npt.NDArray[np.float32]
"""``float32[n, BANDS]``, one row for each frame."""

Shape: TypeAlias = Literal["hamming", "povey"]
"""The shape of the window: WeSpeaker takes Kaldi's Hamming window, 3D-Speaker its default."""

_FFT = 512
_LOWEST, _HIGHEST = 20.0, SAMPLE_RATE / 2  # Hz
_PRE_EMPHASIS = np.float32(0.97)
_SMALLEST = np.finfo(np.float32).eps  # the least value whose logarithm is taken


def fbank(samples: Samples, shape: Shape) -> Frames:
    """The features of ``float32[WINDOW + n * HOP]``: ``n + 1`` rows.

    Kaldi's samples have the scale of 16-bit integers; here the caller chooses it.
    """
    if len(samples) < WINDOW:
        return np.zeros((0, BANDS), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    windows = windows - windows.mean(axis=1, keepdims=True)
    # The first sample of a window precedes itself.
    before = np.concatenate([windows[:, :1], windows[:, :-1]], axis=1)
    spectra = np.fft.rfft((windows - _PRE_EMPHASIS * before) * _WINDOWS[shape], _FFT)
    power = np.square(np.abs(spectra)).astype(np.float32)
    found: Frames = np.log(np.maximum(power @ _MEL, _SMALLEST))
    return found


def _mel(frequency: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(np.asarray(frequency) / 700.0))


def _triangles() -> Frames:
    """``float32[_FFT / 2 + 1, BANDS]``: triangles that are straight and evenly spaced in mel."""
    edges = np.linspace(_mel(_LOWEST), _mel(_HIGHEST), BANDS + 2)
    bins = _mel(np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: Frames = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


_MEL = _triangles()
_WINDOWS: Mapping[Shape, Samples] = {
    "hamming": np.hamming(WINDOW).astype(np.float32),
    "povey": (np.hanning(WINDOW) ** 0.85).astype(np.float32),
}
