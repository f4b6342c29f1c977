"""Where somebody speaks in the audio that is held, found as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np

from reflector_gpu.audio.vad import WINDOW, Hysteresis, VadOptions
from reflector_gpu.types import SAMPLE_RATE, Samples, Span

_BRIDGED = SAMPLE_RATE // 5  # samples; a shorter silence is a part of speech


class Speech:
    """Listens to samples in order. Positions are in samples from the first one on."""

    def __init__(self, detector: Callable[[Samples], Samples], options: VadOptions) -> None:
        """``detector`` is `VoiceActivity.probabilities` for these samples, or does the same."""
        self._detector = detector
        self._speaks = Hysteresis.around(options.threshold)
        self._rest: Samples = np.zeros(0, np.float32)
        self._spans: list[tuple[int, int]] = []
        self.heard = 0
        """Up to where it has listened."""

    def listen(self, samples: Samples, probabilities: Samples | None = None) -> None:
        """Take the next samples, with the ``probabilities`` of their windows if they are known."""
        if probabilities is not None and not len(self._rest):
            self._take(probabilities)
            return
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // WINDOW * WINDOW
        self._rest = samples[whole:].copy()
        if not whole:
            return
        self._take(self._detector(samples[:whole]))

    def _take(self, probabilities: Samples) -> None:
        for probability in probabilities.tolist():
            if self._speaks(probability):
                self._add(self.heard, self.heard + WINDOW)
            self.heard += WINDOW

    def forget(self, before: int) -> None:
        """Drop what is known of the samples ``before`` a position."""
        self._spans = [(max(a, before), b) for a, b in self._spans if b > before]

    @property
    def end(self) -> int | None:
        """Where the last speech ends, or ends so far. None if there is none."""
        return self._spans[-1][1] if self._spans else None

    def follow(self, speech: Iterable[Span]) -> None:
        """Take note of ``speech`` before the first sample. Its times are below zero."""
        self._spans += [(round(a * SAMPLE_RATE), round(b * SAMPLE_RATE)) for a, b in speech]

    def after(self, position: int) -> int | None:
        """Where the first speech after a ``position`` begins, or goes on; None if there is none."""
        return next((max(a, position) for a, b in self._spans if b > position), None)

    def spans(self, begin: int, end: int) -> tuple[Span, ...]:
        """The speech between two positions, in seconds from ``begin``."""
        return tuple(
            ((max(a, begin) - begin) / SAMPLE_RATE, (min(b, end) - begin) / SAMPLE_RATE)
            for a, b in self._spans
            if b > begin and a < end
        )

    def pause(self, begin: int, end: int) -> int | None:
        """The middle of the longest silence between two positions; None if there is no silence."""
        edges = [begin, *(at for span in self._spans for at in span if begin < at < end), end]
        inside = pairwise(edges)
        silent = [(b - a, (a + b) // 2) for a, b in inside if not self._speech_at((a + b) // 2)]
        return max(silent)[1] if silent else None

    def _speech_at(self, position: int) -> bool:
        return any(a <= position < b for a, b in self._spans)

    def _add(self, begin: int, end: int) -> None:
        if self._spans and begin - self._spans[-1][1] < _BRIDGED:
            self._spans[-1] = self._spans[-1][0], end
        else:
            self._spans.append((begin, end))
