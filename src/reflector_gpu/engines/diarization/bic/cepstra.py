"""Features of a voice, 100 times a second: mel cepstra, pitch and loudness.

There are twelve mel-frequency cepstral coefficients (Davis and Mermelstein 1980), without energy,
and without mean normalisation, because the mean tells speakers apart. The logarithm of the pitch is
from the autocorrelation divided by that of the window (Boersma 1993).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import SAMPLE_RATE, Samples

HOP = SAMPLE_RATE // 100
"""Samples from one frame to the next: 10 ms."""

WINDOW = 640
"""Samples from the start of a frame that the pitch is found in; the cepstra take fewer."""

CEPSTRA = 12

PITCH, VOICING, LOUDNESS = CEPSTRA, CEPSTRA + 1, CEPSTRA + 2
"""Columns after the cepstra: log of the pitch in Hz, voicing in [0, 1], mean log mel energy."""

COLUMNS = CEPSTRA + 3

Frames = npt.NDArray[np.float32]
"""``float32[n, COLUMNS]``, one row for each frame."""

_MEL_WINDOW, _MEL_FFT, _MEL_BANDS = 400, 512, 26
_LOWEST, _HIGHEST = 100.0, 7000.0  # Hz
_PRE_EMPHASIS = np.float32(0.97)
_PITCH_FFT = 1024  # at least WINDOW + _LONGEST_LAG, or the autocorrelation would wrap around
_SHORTEST_LAG, _LONGEST_LAG = SAMPLE_RATE // 350, SAMPLE_RATE // 70


def frames(samples: Samples) -> Frames:
    """The features of a stretch: ``float32[1 + n * HOP + WINDOW]`` gives ``n + 1`` rows.

    The sample before the first frame is for the pre-emphasis.
    """
    emphasised = samples[1:] - _PRE_EMPHASIS * samples[:-1]
    count = 1 + (len(emphasised) - WINDOW) // HOP
    found = np.empty((count, COLUMNS), np.float32)
    mel = _log_mel(_framed(emphasised, _MEL_WINDOW)[:count])
    found[:, :CEPSTRA] = mel @ _COSINES
    found[:, LOUDNESS] = mel.mean(axis=1)
    found[:, PITCH], found[:, VOICING] = _pitch(_framed(samples[1:], WINDOW))
    return found


def _framed(samples: Samples, width: int) -> Samples:
    return np.lib.stride_tricks.sliding_window_view(samples, width)[::HOP]


def _log_mel(windows: Samples) -> Samples:
    spectra = np.abs(np.fft.rfft(windows * _HAMMING, _MEL_FFT)).astype(np.float32)
    mel: Samples = np.log(np.square(spectra) @ _MEL + np.float32(1e-10))
    return mel


def _pitch(windows: Samples) -> tuple[Samples, Samples]:
    centred = (windows - windows.mean(axis=1, keepdims=True)) * _HANN
    spectra = np.square(np.abs(np.fft.rfft(centred, _PITCH_FFT)))
    correlation = np.fft.irfft(spectra)[:, : _LONGEST_LAG + 1]
    correlation /= (correlation[:, :1] + 1e-9) * _WINDOW_CORRELATION
    lag = correlation[:, _SHORTEST_LAG:].argmax(axis=1) + _SHORTEST_LAG
    voicing: Samples = correlation[np.arange(len(lag)), lag].astype(np.float32)
    return np.log(SAMPLE_RATE / lag).astype(np.float32), voicing


def _mel_filters() -> Samples:
    """``float32[_MEL_FFT / 2 + 1, _MEL_BANDS]``: triangles that are evenly spaced in mel."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (_LOWEST, _HIGHEST))
    edges = 700 * (10 ** (np.linspace(low, high, _MEL_BANDS + 2) / 2595) - 1)
    bins = np.arange(_MEL_FFT // 2 + 1)[:, None] * SAMPLE_RATE / _MEL_FFT
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: Samples = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


def _cosines() -> Samples:
    """``float32[_MEL_BANDS, CEPSTRA]``: rows 1 to CEPSTRA of the orthonormal DCT-II."""
    band = (np.arange(_MEL_BANDS) + 0.5)[:, None] * np.pi / _MEL_BANDS
    basis = np.cos(band * np.arange(1, CEPSTRA + 1)) * np.sqrt(2 / _MEL_BANDS)
    rounded: Samples = basis.astype(np.float32)
    return rounded


_MEL = _mel_filters()
_COSINES = _cosines()
_HAMMING = np.hamming(_MEL_WINDOW).astype(np.float32)
_HANN = np.hanning(WINDOW).astype(np.float32)
_hann_spectrum = np.square(np.abs(np.fft.rfft(_HANN, _PITCH_FFT)))
_hann_correlation = np.fft.irfft(_hann_spectrum)[: _LONGEST_LAG + 1]
_WINDOW_CORRELATION = np.maximum(_hann_correlation / _hann_correlation[0], 0.1).astype(np.float32)
