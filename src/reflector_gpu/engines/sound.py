"""Word times fitted to where there is sound.

Aligners that follow attention give a word the silence before it as well, and let go of the last
word before it is over. Where the audio around a word is far below the chunk's loudest, the word
did not begin, or had ended; where sound goes on after the last word, it is still being said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import SAMPLE_RATE, Samples, Word

FLOOR_DECIBELS = -40.0
"""Frames this far below the chunk's loudest are silent."""

_FRAME = SAMPLE_RATE // 100
_SHORTEST = 5  # frames of a word that are left in any case
_LONGEST_TAIL = 50  # frames that the last word may gain
_LONGEST_STOP = 8  # silent frames inside a word, as before a plosive


def fitted_to_sound(words: Sequence[Word], samples: Samples) -> list[Word]:
    """``words``, none of which begins or ends in silence; their order and text stay."""
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


def _prolonged(word: Word, loud: npt.NDArray[np.intp]) -> Word:
    """The last word, up to where the sound that goes on from its end ceases."""
    end = round(word.end * 100)
    for frame in loud[np.searchsorted(loud, end) :]:
        if frame - end > _LONGEST_STOP or frame >= word.end * 100 + _LONGEST_TAIL:
            break
        end = int(frame) + 1
    return replace(word, end=max(word.end, end / 100))
