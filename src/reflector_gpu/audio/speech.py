"""Where anybody speaks: the stretches of a recording that a diarizer looks at.

`chunk` keeps the silences between sentences, which recognisers need; here silences separate
speakers. The thresholds are lower here too, because nobody else would find a far participant who is
missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from reflector_gpu.audio.vad import WINDOW, WINDOW_SECONDS, Hysteresis, VoiceActivity
from reflector_gpu.types import SAMPLE_RATE, Samples

_BEGINS, _ENDS = 0.35, 0.2  # of the detector's probability
_SHORTEST_SILENCE = math.ceil(0.3 / WINDOW_SECONDS)  # windows; a shorter one is bridged
_SHORTEST_SPEECH = math.ceil(0.1 / WINDOW_SECONDS)
_PADDING = 0.1  # seconds of silence that are taken along on either side


def speech_spans(blocks: Iterable[Samples]) -> list[tuple[float, float]]:
    """The (start, end) of all speech in a recording's ``blocks``, seconds, in order and apart."""
    detector = VoiceActivity()
    probabilities: list[float] = []
    length = 0
    for windows, new in whole_windows(blocks):
        probabilities.extend(detector.probabilities(windows))
        length += new
    return spans(probabilities, length / SAMPLE_RATE)


def spans(probabilities: Iterable[float], seconds: float) -> list[tuple[float, float]]:
    """The same from what the detector found in each window of a recording of ``seconds``."""
    return [
        (max(0.0, a * WINDOW_SECONDS - _PADDING), min(b * WINDOW_SECONDS + _PADDING, seconds))
        for a, b in _voiced(probabilities)
        if b - a >= _SHORTEST_SPEECH
    ]


def whole_windows(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, int]]:
    """``blocks`` cut anew to whole windows, the last one padded with silence.

    And how many samples of each are the recording's.
    """
    rest: Samples = np.zeros(0, np.float32)
    for block in blocks:
        samples = np.concatenate([rest, block])
        whole = len(samples) // WINDOW * WINDOW
        rest = samples[whole:]
        if whole:
            yield samples[:whole], whole
    if len(rest):
        yield np.pad(rest, (0, WINDOW - len(rest))), len(rest)


def _voiced(probabilities: Iterable[float]) -> Iterator[tuple[int, int]]:
    """The (first, last + 1) windows of speech, with no long silence inside."""
    begin: int | None = None
    end = 0
    for window, speaks in enumerate(map(Hysteresis(_BEGINS, _ENDS), probabilities)):
        if speaks:
            begin, end = window if begin is None else begin, window + 1
        elif begin is not None and window - end >= _SHORTEST_SILENCE:
            yield begin, end
            begin = None
    if begin is not None:
        yield begin, end
