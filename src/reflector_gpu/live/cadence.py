"""How often to hear a window again: as often as the machine can.

A pass begins once there is enough new audio, and none before the last one has ended. So the more
sessions share the workers, the longer passes take and the further they are apart. No audio is
dropped for that: a later pass hears more of it.
"""

from __future__ import annotations

from collections import deque
from statistics import mean

LEAST_STEP = 0.4
"""Seconds of new audio that a pass has at least. Two passes that hear nearly the same audio also
make the same mistakes, so their agreement says little."""

_HEADROOM = 1.25
"""A pass that takes a second begins so many seconds after the one before it. The rest of the
machine's time is for requests that do not stream."""

_REMEMBERED = 4  # passes


class Cadence:
    """Learns from the passes of one utterance after the other."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=_REMEMBERED)

    def took(self, seconds: float) -> None:
        """Learn how long a pass took, the wait for a worker included."""
        self._taken.append(seconds)

    @property
    def borne(self) -> float | None:
        """Seconds between passes that the machine bears; None before the first pass."""
        return _HEADROOM * mean(self._taken) if self._taken else None

    @property
    def step(self) -> float:
        """Seconds of new audio that the next pass should have."""
        return max(LEAST_STEP, self.borne or 0.0)
