"""Where speech begins and ends in a session's audio."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reflector_gpu.audio.vad import WINDOW, WINDOW_SECONDS, Hysteresis, VoiceActivity
from reflector_gpu.realtime.configuration import SemanticVad, ServerVad, TurnDetection
from reflector_gpu.types import Samples

_ONSET = 2  # windows of voice that begin a turn; a click has fewer
_SURE = 0.5  # the threshold if the client gives none
_PREFIX_SECONDS = 0.3

_LONGEST_SILENCE = {"low": 8.0, "medium": 4.0, "auto": 4.0, "high": 2.0}
"""Seconds of silence that end a turn whatever was said, by eagerness."""

_SHORTEST_SILENCE = {"low": 0.8, "medium": 0.5, "auto": 0.5, "high": 0.3}
"""Seconds of silence that end a turn after a whole sentence."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a turn begins and ends. Lengths are in windows of the detector.

    A turn ends after a silence of ``enough`` if what was said is complete, and of ``longest`` in
    any case. None: the client ends turns.
    """

    threshold: float = _SURE
    prefix: int = math.ceil(_PREFIX_SECONDS / WINDOW_SECONDS)
    enough: int | None = None
    longest: int | None = None

    @property
    def lead(self) -> int:
        """The windows before the end of an onset that belong to the turn."""
        return self.prefix + _ONSET

    @classmethod
    def of(cls, detection: TurnDetection | None) -> Rules:
        if isinstance(detection, ServerVad):
            silence = max(1, _windows(detection.silence_duration_ms / 1000))
            return cls(
                threshold=min(max(detection.threshold, 0.01), 0.99),
                prefix=_windows(detection.prefix_padding_ms / 1000),
                enough=silence,
                longest=silence,
            )
        if isinstance(detection, SemanticVad):
            eagerness = detection.eagerness
            return cls(
                enough=_windows(_SHORTEST_SILENCE[eagerness]),
                longest=_windows(_LONGEST_SILENCE[eagerness]),
            )
        return cls()


def _windows(seconds: float) -> int:
    return math.ceil(round(seconds / WINDOW_SECONDS, 6))


class Listener:
    """Listens to a session's audio, window by window."""

    def __init__(self) -> None:
        self._activity = VoiceActivity()
        self._rest: Samples = np.zeros(0, np.float32)
        self.probabilities: Samples = np.zeros(0, np.float32)
        """What the detector found in the window just given, ``float32[1]``."""
        self.rules(Rules())

    def rules(self, rules: Rules) -> None:
        """Go by ``rules`` from now on."""
        self._rules = rules
        self._speaks = Hysteresis.around(rules.threshold)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was said: a turn has ended."""
        self.voiced = 0
        self.silent = 0

    def windows(self, samples: Samples) -> Iterator[Samples]:
        """The next ``samples`` in windows. The properties are about the one just given."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // WINDOW * WINDOW
        self._rest = samples[whole:].copy()
        if not whole:
            return
        windows = samples[:whole]
        probabilities = self._activity.probabilities(windows)
        for number in range(len(probabilities)):
            self.probabilities = probabilities[number : number + 1]
            if self._speaks(float(self.probabilities[0])):
                self.voiced, self.silent = self.voiced + 1, 0
            else:
                self.voiced, self.silent = 0, self.silent + 1
            yield windows[number * WINDOW : (number + 1) * WINDOW]

    def rest(self) -> Samples:
        """The samples that make no whole window yet. They are not given again."""
        rest, self._rest = self._rest, np.zeros(0, np.float32)
        return rest

    @property
    def onset(self) -> bool:
        """Whether somebody has begun to speak."""
        return self.silent == 0 and self.voiced >= _ONSET

    @property
    def paused(self) -> bool:
        """Whether the turn is over if what was said is a whole sentence."""
        return self._rules.enough is not None and self.silent >= self._rules.enough

    @property
    def silent_for_long(self) -> bool:
        """Whether the turn is over, whatever was said."""
        return self._rules.longest is not None and self.silent >= self._rules.longest
