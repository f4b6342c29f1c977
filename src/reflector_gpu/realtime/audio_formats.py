"""The audio that clients send, as the samples that recognisers take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import gcd

import numpy as np
import numpy.typing as npt

from reflector_gpu import pcm
from reflector_gpu.types import SAMPLE_RATE, Samples

PCM_RATES = (8_000, 16_000, 24_000, 48_000)
"""Samples a second that PCM may have."""

_G711_RATE = 8_000
_HALF_WIDTH = 16  # zero crossings of the filter's sinc on either side
_CUTOFF = 0.94  # of the lower Nyquist frequency; above it the filter falls off
_KAISER_BETA = 8.0  # 80 dB of attenuation


class Decoder:
    """Turns bytes into samples at `SAMPLE_RATE`. Calls may split the audio anywhere."""

    def __init__(self, width: int, rate: int, read: Callable[[bytes], Samples]) -> None:
        """One sample is ``width`` bytes, of which ``read`` makes a float."""
        self.bytes_per_second = width * rate
        self._width = width
        self._read = read
        self._rest = b""
        self._resample = Resampler(rate, SAMPLE_RATE) if rate != SAMPLE_RATE else None

    def __call__(self, data: bytes) -> Samples:
        """The samples of the next ``data``. Half a sample at its end waits for the other half."""
        data = self._rest + data if self._rest else data
        whole = len(data) // self._width * self._width
        self._rest = data[whole:]
        samples: Samples = self._read(data[:whole])
        return samples if self._resample is None else self._resample(samples)


def pcm_decoder(rate: int) -> Decoder:
    """For 16-bit samples, little-endian and mono."""
    return Decoder(pcm.SAMPLE_BYTES, rate, pcm.decoded)


def mu_law_decoder() -> Decoder:
    """For G.711 as it is used in North America and Japan."""
    return Decoder(1, _G711_RATE, lambda data: _mu_law()[np.frombuffer(data, np.uint8)])


def a_law_decoder() -> Decoder:
    """For G.711 as it is used elsewhere."""
    return Decoder(1, _G711_RATE, lambda data: _a_law()[np.frombuffer(data, np.uint8)])


class Resampler:
    """Changes the sample rate of a stream.

    A low-pass filter is evaluated at each output sample. ``up`` of them fall on ``down`` input
    samples, so there are ``up`` sets of weights. The output is late by `_HALF_WIDTH` zero
    crossings, about a millisecond, and as long as the input.
    """

    def __init__(self, source: int, target: int) -> None:
        common = gcd(source, target)
        self._up, self._down = target // common, source // common
        self._weights = _weights(self._up, self._down)
        self._rest: Samples = np.zeros(self._weights.shape[1] - 1, np.float32)

    def __call__(self, samples: Samples) -> Samples:
        samples = np.concatenate([self._rest, samples])
        taps = self._weights.shape[1]
        steps = max(0, (len(samples) - taps + 1) // self._down)
        self._rest = samples[steps * self._down :].copy()
        if not steps:
            return np.zeros(0, np.float32)
        # [steps, taps + down - 1]: what the outputs of one step look at
        windows = np.lib.stride_tricks.sliding_window_view(samples, taps)[:: self._down][:steps]
        found = np.empty((steps, self._up), np.float32)
        for phase in range(self._up):
            found[:, phase] = windows @ self._weights[phase]
        flat: Samples = found.reshape(-1)
        return flat


@cache
def _weights(up: int, down: int) -> npt.NDArray[np.float32]:
    """``[up, taps]``: the weights of the input for each output sample of a step."""
    cutoff = _CUTOFF * min(1.0, up / down)  # of the input's Nyquist frequency
    half = int(np.ceil(_HALF_WIDTH / cutoff))
    taps = 2 * half + int(np.ceil(down * (up - 1) / up)) + 1
    centres = half + np.arange(up) * down / up
    distance = np.arange(taps) - centres[:, None]
    inside = np.clip(1 - (distance / half) ** 2, 0, None)
    window = np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA) * (inside > 0)
    found = np.sinc(cutoff * distance) * window
    weights: npt.NDArray[np.float32] = (found / found.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


@cache
def _mu_law() -> Samples:
    """The value of each byte, ``float32[256]``."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = ((2 * mantissa + 33) << exponent) - 33
    return _signed(magnitude * 4, negative=code >= 128)


@cache
def _a_law() -> Samples:
    """The value of each byte, ``float32[256]``."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    scaled = (2 * mantissa + 33) << np.maximum(exponent - 1, 0)
    magnitude = np.where(exponent == 0, 2 * mantissa + 1, scaled)
    return _signed(magnitude * 8, negative=code < 128)


def _signed(magnitude: npt.NDArray[np.int32], *, negative: npt.NDArray[np.bool_]) -> Samples:
    return (np.where(negative, -magnitude, magnitude) / 32768).astype(np.float32)
