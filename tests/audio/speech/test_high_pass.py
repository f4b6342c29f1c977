"""The high-pass filter: what it lets through, and that pieces do not matter to it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.high_pass import HighPass
from reflector_gpu.types import SAMPLE_RATE, Samples

HERTZ = 100.0
BLOCK = 32
LENGTH = 2 * SAMPLE_RATE
SECONDS = np.arange(LENGTH) / SAMPLE_RATE


def noise(length: int) -> Samples:
    return np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)


def by_definition(samples: Samples) -> Samples:
    """A Butterworth filter of the second order, sample by sample, as textbooks have it."""
    k = np.tan(np.pi * HERTZ / SAMPLE_RATE)
    norm = 1 / (1 + np.sqrt(2) * k + k * k)
    last, back = 2 * (k * k - 1) * norm, (1 - np.sqrt(2) * k + k * k) * norm
    padded = np.concatenate([np.zeros(2), samples])
    found = np.zeros(len(padded))
    for i in range(2, len(padded)):
        through = norm * (padded[i] - 2 * padded[i - 1] + padded[i - 2])
        found[i] = through - last * found[i - 1] - back * found[i - 2]
    return found[2:].astype(np.float32)


def test_it_is_the_filter_of_the_textbooks() -> None:
    samples = noise(200 * BLOCK) + np.float32(0.5)
    assert HighPass(HERTZ)(samples) == pytest.approx(by_definition(samples), abs=1e-5)


@pytest.mark.parametrize(
    ("hertz", "gain"), [(0, 0.0), (25, 0.0624), (100, 0.7071), (400, 0.998), (7000, 1.0)]
)
def test_what_it_lets_through(hertz: float, gain: float) -> None:
    wave = np.cos(2 * np.pi * hertz * SECONDS).astype(np.float32)
    later = slice(LENGTH // 2, None)
    found = np.abs(HighPass(HERTZ)(wave)[later]).max() / np.abs(wave[later]).max()
    assert found == pytest.approx(gain, abs=0.002)


@given(st.lists(st.integers(1, 99), max_size=20))
def test_any_pieces_give_the_same(cuts: list[int]) -> None:
    samples = noise(100 * BLOCK)
    pieces, whole = HighPass(HERTZ), HighPass(HERTZ)
    found = [
        pieces(samples[first * BLOCK : last * BLOCK])
        for first, last in pairwise([0, *sorted(set(cuts)), 100])
    ]
    assert np.concatenate(found) == pytest.approx(whole(samples), abs=1e-6)


def test_the_samples_are_left_alone() -> None:
    samples = noise(50 * BLOCK)
    samples.flags.writeable = False
    HighPass(HERTZ)(samples)
