"""A high-pass filter for a signal that comes in pieces, without a loop over its samples."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from reflector_gpu.types import SAMPLE_RATE, Samples

_BLOCK = 32
"""Samples that are filtered by one matrix product. What is filtered is a whole number of blocks."""

_AT_ONCE = 128
"""Blocks. BLAS would share a larger product among threads, and spend more on that than on it."""

_REMEMBERED = 16
"""Blocks, a power of two: what came before them is no longer heard in a block, from 100 Hz on."""


class HighPass:
    """A second-order Butterworth filter.

    Behind its first sample the impulse response is a decaying wave, ``2 Re(r p^n)``. So all that a
    block needs to know of those before it is one complex number, the sum of their samples, each
    times ``p`` to the power of its distance. That sum is made for all blocks at once.
    """

    def __init__(self, hertz: float) -> None:
        """Frequencies below ``hertz`` are filtered out."""
        self._response = _response(hertz)
        self._before = np.zeros(_REMEMBERED, np.complex64)  # what the last blocks add to the sum

    def __call__(self, samples: Samples) -> Samples:
        """``samples`` filtered, ``float32[n]``. They follow those of the last call."""
        response, blocks = self._response, samples.reshape(-1, _BLOCK)
        added = (blocks @ response.into).view(np.complex64).reshape(-1)
        sums = np.concatenate([self._before, added])
        self._before = sums[-_REMEMBERED:].copy()
        # Of 1, 2, 4 ... blocks.
        reach = 1
        while reach < _REMEMBERED:
            sums[reach:] += np.complex64(response.decay**reach) * sums[:-reach]
            reach *= 2
        past = sums[_REMEMBERED - 1 : -1].view(np.float32).reshape(-1, 2)
        filtered: Samples = past @ response.out_of
        for first in range(0, len(blocks), _AT_ONCE):
            several = slice(first, first + _AT_ONCE)
            filtered[several] += blocks[several] @ response.within
        return filtered.reshape(-1)


@dataclass(frozen=True, slots=True)
class _Response:
    """Matrices: what a block adds to itself, to the sum, and what the sum adds to a block."""

    within: Samples
    into: Samples
    out_of: Samples
    decay: complex


@cache
def _response(hertz: float) -> _Response:
    """The same for all recordings: making it takes as long as filtering half a second."""
    # The bilinear transform of the analog filter: a pole, its conjugate, and two zeros at 1.
    analog = math.tan(math.pi * hertz / SAMPLE_RATE) * cmath.exp(0.75j * math.pi)
    pole = (1 + analog) / (1 - analog)
    gain = abs(1 + pole) ** 2 / 4
    residue = gain * (1 - 1 / pole) ** 2 / (1 - pole.conjugate() / pole)
    powers = pole ** np.arange(_BLOCK + 1)
    response = 2 * (residue * powers[:_BLOCK]).real
    response[0] = gain
    later = np.arange(_BLOCK) - np.arange(_BLOCK)[:, None]
    within = np.where(later < 0, 0, response[later]).astype(np.float32)
    # Complex numbers are two columns here, which BLAS multiplies as real ones.
    into = powers[_BLOCK - 1 :: -1].astype(np.complex64).view(np.float32).reshape(-1, 2)
    shares = 2 * residue * powers[1:]
    out_of = np.array([shares.real, -shares.imag], np.float32)
    return _Response(within, into, out_of, complex(powers[_BLOCK]))
