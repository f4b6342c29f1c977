"""Corrects the times of words by the sound, and drops words without speech.

Aligners that follow attention also give a word the silence before it, and end the last word too
early. A word cannot begin or end where the audio is far below the chunk's loudest. If sound goes on
after the last word, that word is still being spoken.

Speech changes the sound, because the spectra of vowels and consonants differ. So words over
silence, a tone, a hum or the noise of a fan were not spoken, however likely the recogniser found
them. The measure is how much the spectrum varies over time, after Ghosh, Tsiartas and Narayanan
2011 (long-term signal variability, https://doi.org/10.1109/TASL.2010.2052803).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from math import inf
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reflector_gpu.sentences import ends_sentence
from reflector_gpu.types import SAMPLE_RATE, Samples, Word

FLOOR_DECIBELS = -40.0
"""Frames this far below the chunk's loudest are silent."""

_Times: TypeAlias = npt.NDArray[np.float64]  # [n]

_RATHER_RIGHT = 0.5  # the probability of a word that is rather right than wrong
_MOVED_SECONDS = 0.3  # the length of a moved word, whose true length is unknown

_FRAME = SAMPLE_RATE // 100
_SHORTEST = 5  # frames that a word keeps in any case
_LONGEST_TAIL = 50  # frames that the last word may gain
_LONGEST_STOP = 8  # silent frames inside a word, as before a plosive

STEADY_DECIBELS = 2.0
"""Spectra that vary less are those of a steady sound.

Measured over a second: tones and hum 0.1; white, pink and brown noise 1.8, which is the error of
estimating a band's level from so few bins. Clean speech has 5 and more, speech in meeting rooms
2.2 and more, speech under noise as loud as itself 2.2 and more.
"""

_LOOK_SECONDS = 1.0  # of sound to examine, even for a shorter word: aligners are not exact
_STRIDE_SECONDS = 0.25
_NEAR_SECONDS = 1.0  # changing sound that is further from every word has no words
_WINDOW, _STEP = 1024, 512  # samples of a spectrum: a phone takes about two of them
_HANNING = np.hanning(_WINDOW).astype(np.float32)
_BANDS = np.concatenate([np.arange(100, 1000, 100), np.geomspace(1000, 7500, 16)])  # Hz
_BINS = np.round(_BANDS / SAMPLE_RATE * _WINDOW).astype(np.intp)
_FEWEST = 4  # spectra; fewer cannot be said to vary
_TINY = np.finfo(np.float32).tiny
_RANGE_DECIBELS = 40.0  # below a spectrum's strongest band there is only leakage and noise
_FAINT_DECIBELS = 60.0  # below the chunk's strongest band, further than any two voices are apart


def fitted_to_sound(words: Sequence[Word], samples: Samples) -> list[Word]:
    """``words`` with times so that none begins or ends in silence. Order and text stay."""
    count = len(samples) // _FRAME
    if not count:
        return list(words)
    power = np.square(samples[: count * _FRAME].reshape(count, _FRAME)).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (FLOOR_DECIBELS / 10))
    found: list[Word] = []
    for word in words:
        first, last = round(word.start * 100), round(word.end * 100)
        inside = loud[np.searchsorted(loud, first) : np.searchsorted(loud, last)]
        if len(inside) >= _SHORTEST:
            start, end = max(word.start, inside[0] / 100), min(word.end, (inside[-1] + 1) / 100)
            found.append(replace(word, start=float(start), end=float(end)))
        else:
            found.append(word)
    if found:
        found[-1] = _prolonged(found[-1], loud)
    return found


def spoken(words: Sequence[Word], samples: Samples) -> list[bool]:
    """Whether there is a changing sound where each of ``words`` is.

    If there is one where no word would be left, the times are wrong, and all words are kept.
    """
    if not words:
        return []
    spectra = _Spectra(samples)
    starts, ends = np.array([(word.start, word.end) for word in words]).T
    kept = spectra.may_be_speech(starts, ends)
    if not kept.all():
        times = np.arange(0, len(samples) / SAMPLE_RATE, _STRIDE_SECONDS)
        beside = np.clip(times[:, None], starts[kept], ends[kept]) - times[:, None]
        alone = np.abs(beside).min(axis=1, initial=np.inf) > _NEAR_SECONDS
        kept |= bool(spectra.changes(times, times)[alone].any())
    found: list[bool] = kept.tolist()
    return found


def beside_sound(words: Sequence[Word], spoken: Sequence[bool]) -> list[Word]:
    """``words`` without those that were not ``spoken``.

    The aligner may be wrong about some: if the first words of a sentence were spoken, those of the
    others that are rather right than wrong are moved beside them.
    """
    limits = list(_next_starts(words, spoken))
    found: list[Word] = []
    before: Word | None = None
    for word, kept, limit in zip(words, spoken, limits, strict=True):
        moved = before is not None and _goes_on(before, word)
        before = word if kept or moved else None
        if kept:
            found.append(word)
        elif moved:
            start = min(found[-1].end, limit)
            end = min(start + min(word.end - word.start, _MOVED_SECONDS), limit)
            found.append(replace(word, start=start, end=end))
    return found


def _goes_on(before: Word, after: Word) -> bool:
    sure = (after.probability or 0.0) >= _RATHER_RIGHT
    return sure and not ends_sentence(before.text, after.text)


def _next_starts(words: Sequence[Word], spoken: Sequence[bool]) -> Iterator[float]:
    """When the first of the ``spoken`` words after each of ``words`` begins."""
    starts = [word.start if kept else inf for word, kept in zip(words, spoken, strict=True)]
    return reversed(list(accumulate(reversed([*starts[1:], inf]), min)))


class _Spectra:
    """Measures how the spectrum of a chunk changes, whatever its loudness. Times are seconds."""

    def __init__(self, samples: Samples) -> None:
        padded = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
        windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP]
        power = np.square(np.abs(np.fft.rfft(windows * _HANNING)))
        levels = 10 * np.log10(np.add.reduceat(power, _BINS[:-1], axis=1) + _TINY)
        strongest = levels.max(axis=1)
        audible = strongest > strongest.max() - _FAINT_DECIBELS
        # A window that reaches into silence shows the edge of a sound, not the sound.
        beside = np.pad(audible, 1, constant_values=True)
        whole = audible & beside[:-2] & beside[2:]
        shapes = np.maximum(levels, strongest[:, None] - _RANGE_DECIBELS)
        shapes = (shapes - shapes.mean(axis=1, keepdims=True)) * whole[:, None]
        # Running sums give the sum over any stretch of windows.
        self._audible, self._whole = _sums(audible), _sums(whole)
        self._shapes, self._squares = _sums(shapes), _sums(np.square(shapes))

    def may_be_speech(self, starts: _Times, ends: _Times) -> npt.NDArray[np.bool_]:
        """``bool[n]``: false if there is no sound between two times, or it does not change."""
        first, last = self._near(starts, ends)
        few = self._whole[last] - self._whole[first] < _FEWEST
        there = self._audible[last] > self._audible[first]
        return np.where(few, there, self.changes(starts, ends))

    def changes(self, starts: _Times, ends: _Times) -> npt.NDArray[np.bool_]:
        """``bool[n]``: whether the sound surely changes."""
        first, last = self._near(starts, ends)
        count = self._whole[last] - self._whole[first]
        means, squares = (
            (sums[last] - sums[first]) / np.maximum(1, count)[:, None]
            for sums in (self._shapes, self._squares)
        )
        deviations = np.sqrt(np.maximum(0, squares - np.square(means))).mean(axis=1)
        changing: npt.NDArray[np.bool_] = (count >= _FEWEST) & (deviations > STEADY_DECIBELS)
        return changing

    def _near(
        self, starts: _Times, ends: _Times
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        beside = np.maximum(0, _LOOK_SECONDS - (ends - starts)) / 2
        first = ((starts - beside) * (SAMPLE_RATE / _STEP)).astype(np.intp)
        last = ((ends + beside) * (SAMPLE_RATE / _STEP)).astype(np.intp) + 1
        final = len(self._whole) - 1
        return first.clip(0, final), last.clip(0, final)


def _sums(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """``[n + 1, ...]``: the sum of what is before each of ``values[n, ...]``, and of all."""
    zero = np.zeros((1, *values.shape[1:]))
    return np.concatenate([zero, np.cumsum(values, axis=0, dtype=np.float64)])


def _prolonged(word: Word, loud: npt.NDArray[np.intp]) -> Word:
    """The last word, extended to the end of the sound that goes on after it."""
    end = round(word.end * 100)
    for frame in loud[np.searchsorted(loud, end) :]:
        if frame - end > _LONGEST_STOP or frame >= word.end * 100 + _LONGEST_TAIL:
            break
        end = int(frame) + 1
    return replace(word, end=max(word.end, end / 100))
