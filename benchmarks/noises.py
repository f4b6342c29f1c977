"""Recordings in which nobody speaks: noise, telephones, machines, people who move, and music.

They are made from sines and random numbers of fixed seeds, so that everybody has the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks import audio
from benchmarks.recordings import Clip
from reflector_gpu.types import SAMPLE_RATE

KIND = "nobody speaks"
SECONDS = 20

_Sound: TypeAlias = npt.NDArray[np.float64]
_COUNT = SECONDS * SAMPLE_RATE
_TIMES = np.arange(_COUNT) / SAMPLE_RATE


def clips() -> Iterator[Clip]:
    """One recording of each of `SOUNDS`, as WAV."""
    for seed, (name, make) in enumerate(SOUNDS.items()):
        sound = make(np.random.default_rng(seed))
        samples = (0.3 * sound / max(1e-9, float(np.abs(sound).max()))).astype(np.float32)
        yield Clip(name, KIND, "en", "", audio.wav(samples))


def _coloured(rng: np.random.Generator, exponent: float, low: float = 20.0) -> _Sound:
    """Noise whose power falls with the frequency to the power of ``exponent``, above ``low`` Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(_COUNT))
    hertz = np.fft.rfftfreq(_COUNT, 1 / SAMPLE_RATE)
    shape = np.where(hertz < low, 0.0, np.maximum(hertz, low) ** (-exponent / 2))
    return _waveform(spectrum * shape)


def _band(rng: np.random.Generator, low: float, high: float) -> _Sound:
    """White noise between two frequencies, in Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(_COUNT))
    hertz = np.fft.rfftfreq(_COUNT, 1 / SAMPLE_RATE)
    return _waveform(spectrum * ((hertz > low) & (hertz < high)))


def _waveform(spectrum: npt.NDArray[np.complex128]) -> _Sound:
    found: _Sound = np.fft.irfft(spectrum, _COUNT)
    return found


def _sum(sounds: Iterable[_Sound]) -> _Sound:
    return sum(sounds, np.zeros(_COUNT))


def _sines(*hertz: float) -> _Sound:
    return _sum(np.sin(2 * np.pi * one * _TIMES) for one in hertz)


def _on(seconds: float, period: float) -> npt.NDArray[np.bool_]:
    """The first ``seconds`` of every ``period``."""
    return _TIMES % period < seconds


def _strokes(rng: np.random.Generator, a_second: float, decay: float) -> _Sound:
    """Strokes at random moments, each of its own strength, which fade at ``decay`` a second."""
    times = np.cumsum(rng.exponential(1 / a_second, int(2 * a_second * SECONDS)))
    envelope = np.zeros(_COUNT)
    places = (times[times < SECONDS] * SAMPLE_RATE).astype(int)
    envelope[places] = rng.uniform(0.3, 1.0, len(places))
    fading = np.exp(-decay * np.arange(int(5 / decay * SAMPLE_RATE)) / SAMPLE_RATE)
    size = 2 * _COUNT
    spectrum = np.fft.rfft(envelope, size) * np.fft.rfft(fading, size)
    found: _Sound = np.fft.irfft(spectrum, size)[:_COUNT]
    return found


def _fan(rng: np.random.Generator) -> _Sound:
    blades = _sines(*(28 * harmonic for harmonic in range(1, 12)))
    return _coloured(rng, 1.0) / 0.02 + blades * (1 + 0.3 * np.sin(2 * np.pi * 0.4 * _TIMES))


def _wind(rng: np.random.Generator) -> _Sound:
    gusts = 1 + 0.8 * np.sin(2 * np.pi * 0.2 * _TIMES) * np.sin(2 * np.pi * 0.07 * _TIMES + 1)
    return _coloured(rng, 2.0) * gusts


def _breath(rng: np.random.Generator) -> _Sound:
    """In, out and a pause, every four seconds."""
    cycle = _TIMES % 4.0
    inward = np.sin(np.pi * cycle / 1.2) * (cycle < 1.2)
    outward = np.sin(np.pi * (cycle - 1.5) / 1.6) * ((cycle > 1.5) & (cycle < 3.1))
    return _sum([_band(rng, 800, 5000) * inward, 0.7 * _band(rng, 300, 2500) * outward])


def _siren(_: np.random.Generator) -> _Sound:
    hertz = 900 + 400 * np.sin(2 * np.pi * 0.4 * _TIMES)
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    return _sum([np.sin(phase), 0.3 * np.sin(3 * phase)])


def _drums(rng: np.random.Generator) -> _Sound:
    kick = np.exp(-20 * (_TIMES % 0.5)) * _sines(70)
    hats = np.exp(-60 * ((_TIMES + 0.25) % 0.5)) * _band(rng, 4000, 7900)
    return kick + 0.4 * hats / float(np.abs(hats).max())


def _chords(_: np.random.Generator) -> _Sound:
    chords = ((262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294))
    struck = np.exp(-1.5 * (_TIMES % 1.0))
    turn = _TIMES.astype(int) % len(chords)
    return struck * _sum((turn == place) * _sines(*chord) for place, chord in enumerate(chords))


def _melody(_: np.random.Generator) -> _Sound:
    """A bowed string: harmonics and vibrato, two notes a second."""
    notes = np.array([262, 294, 330, 349, 392, 349, 330, 294])[(_TIMES * 2).astype(int) % 8]
    hertz = notes * (1 + 0.008 * np.sin(2 * np.pi * 5.5 * _TIMES))
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    bow = np.clip(np.sin(np.pi * (_TIMES % 0.5) / 0.5), 0, None) ** 0.3
    return bow * _sum(np.sin(n * phase) / n for n in range(1, 9))


SOUNDS: Mapping[str, Callable[[np.random.Generator], _Sound]] = {
    "silence": lambda _: np.zeros(_COUNT),
    "white noise": lambda rng: _coloured(rng, 0.0),
    "pink noise": lambda rng: _coloured(rng, 1.0),
    "wind": _wind,
    "mains hum": lambda _: _sines(50, 100, 150, 250),
    "fan": _fan,
    "dialling tone": lambda _: _sines(350, 440),
    "telephone that rings": lambda _: _sines(440, 480) * _on(2, 6),
    "keyboard": lambda rng: _strokes(rng, 5, 150) * _band(rng, 1500, 7000),
    "applause": lambda rng: _strokes(rng, 200, 80) * _band(rng, 600, 6000),
    "breath": _breath,
    "siren": _siren,
    "drums": _drums,
    "chords": _chords,
    "melody": _melody,
}
