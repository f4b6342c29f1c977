"""Recordings in which a word is misheard."""

from __future__ import annotations

import numpy as np

from reflector_gpu.types import Samples
from tests.engines.tiny import Clip, clips


def noisy(clip: Clip, decibels: float, seed: int = 0) -> Samples:
    """``clip`` with white noise that is so many decibels below it."""
    samples = clip.samples
    noise = np.random.default_rng(seed).standard_normal(len(samples), np.float32)
    power = np.square(samples).mean() / np.square(noise).mean()
    found: Samples = (samples + noise * np.sqrt(power) * 10 ** (-decibels / 20)).astype(np.float32)
    return found


def misheard(name: str, decibels: float, seed: int) -> Samples:
    """The recording ``name`` with noise."""
    return next(noisy(clip, decibels, seed) for clip in clips("en") if clip.path.stem == name)
