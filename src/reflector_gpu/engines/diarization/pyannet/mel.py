"""The features that the speaker encoder GE2E is trained on, in NumPy.

They are those of ``librosa.feature.melspectrogram`` with 40 bands, windows of 25 ms and a hop of
10 ms: Slaney's mel filters over the power spectrum, without a logarithm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import SAMPLE_RATE, Samples

Mel = npt.NDArray[np.float32]
"""``float32[n, BANDS]``, one row for each hop."""

BANDS = 40
HOP = SAMPLE_RATE // 100
MARGIN = 200
"""Samples that are needed before the middle of the first frame, and after that of the last."""

PIECE = 160
"""Rows that the encoder takes at once: 1.6 s."""

_LEVEL = np.float32(0.376)
"""The power of a voice, summed over the bands, at the -30 dBFS that the encoder is trained on."""

_LEAST_POWER = np.float32(1e-9)


def mel_power(samples: Samples) -> Mel:
    """The features of ``float32[2 * MARGIN + n * HOP]``: ``n + 1`` rows.

    The middle of row ``i`` is at sample ``MARGIN + i * HOP``.
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, 2 * MARGIN)[::HOP]
    spectra = np.fft.rfft(windows * _HANN)
    power = (np.square(spectra.real) + np.square(spectra.imag)).astype(np.float32)
    found: Mel = power @ _FILTERS
    return found


def levelled(pieces: Mel) -> Mel:
    """Pieces ``[n, PIECE, BANDS]`` of one voice, brought to the same level together."""
    found: Mel = pieces * (_LEVEL / np.maximum(pieces.sum(axis=-1).mean(), _LEAST_POWER))
    return found


def piece_starts(rows: int) -> npt.NDArray[np.intp]:
    """Where pieces begin that cover ``rows`` rows and overlap as little as they can."""
    last = max(0, rows - PIECE)
    return np.linspace(0, last, 1 - (-last // PIECE)).round().astype(np.intp)


def _filters() -> npt.NDArray[np.float32]:
    """``float32[MARGIN + 1, BANDS]``: triangles, linear below 1 kHz and logarithmic above."""
    step = np.log(6.4) / 27  # Slaney's: 27 bands from 1 kHz to 6.4 kHz
    top = 15 + np.log(SAMPLE_RATE / 2 / 1000) / step
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, 200 / 3 * mels, 1000 * np.exp(step * (mels - 15)))
    bins = np.fft.rfftfreq(2 * MARGIN, 1 / SAMPLE_RATE)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    area = 2 / (edges[2:] - edges[:-2])
    found: npt.NDArray[np.float32] = (np.maximum(0, np.minimum(rising, falling)) * area).astype(
        np.float32
    )
    return found


_FILTERS = _filters()
_HANN = (0.5 - 0.5 * np.cos(np.pi * np.arange(2 * MARGIN) / MARGIN)).astype(np.float32)
