"""Sounds in which nobody speaks."""

from __future__ import annotations

import numpy as np

from reflector_gpu.types import SAMPLE_RATE, Samples


def _times(seconds: float) -> Samples:
    return np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32) / np.float32(SAMPLE_RATE)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def tone(hertz: float, seconds: float = 3.0, level: float = 0.3) -> Samples:
    sound: Samples = np.sin(2 * np.pi * hertz * _times(seconds)).astype(np.float32)
    return sound * np.float32(level)


def trembling(hertz: float, seconds: float = 3.0) -> Samples:
    """A tone that grows louder and softer four times a second."""
    return tone(hertz, seconds) * (tone(4, seconds, 0.5) + np.float32(0.5))


def hum(hertz: float, seconds: float = 3.0) -> Samples:
    return sum((tone(hertz * n, seconds, 0.2 / n) for n in range(1, 8)), silence(seconds))


def noise(seconds: float = 3.0, level: float = 0.1, slope: float = 0.0, seed: int = 0) -> Samples:
    """White noise, or with a ``slope`` of 0.5 pink, of 1 brown. ``level``: standard deviation."""
    length = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=length))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** slope
    sound = np.fft.irfft(spectrum, length)
    scaled: Samples = (level * sound / sound.std()).astype(np.float32)
    return scaled


def clicks(count: int, seconds: float = 3.0, seed: int = 0) -> Samples:
    """Ten milliseconds each, dying away."""
    rng = np.random.default_rng(seed)
    length = SAMPLE_RATE // 100
    sound = silence(seconds)
    for start in rng.integers(0, len(sound) - length, count):
        decay = np.exp(-np.arange(length) / 30)
        sound[start : start + length] += (0.8 * rng.normal(size=length) * decay).astype(np.float32)
    return sound


STEADY = {
    **{f"tone of {hertz} Hz": tone(hertz) for hertz in (100, 200, 440, 900, 1000, 1100, 5000)},
    "quiet tone": tone(1000, level=0.003),
    "long tone": tone(1000, 15.0),
    "trembling tone": trembling(1000),
    "chord": hum(261.6) + hum(329.6) + hum(392.0),
    "mains hum, 50 Hz": hum(50),
    "mains hum, 60 Hz": hum(60),
    "white noise": noise(),
    "quiet white noise": noise(level=1e-4),
    "long white noise": noise(20.0),
    "pink noise": noise(slope=0.5),
    "brown noise": noise(slope=1.0),
    "offset": np.full(48_000, 0.3, np.float32),
    "square wave": np.sign(tone(150)) * np.float32(0.3),
    "digital silence": silence(3.0),
}
