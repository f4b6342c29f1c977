"""How often to hear a window again: as often as the machine can.

A pass begins once there is enough new audio, and none before the last one has ended. So the more
sessions share the workers, the longer passes take and the further they are apart. No audio is
dropped for that: a later pass hears more of it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import mean

LEAST_STEP = 0.4
"""Seconds of new audio that a pass has at least. Two passes that hear nearly the same audio also
make the same mistakes, so their agreement says little."""

_HEADROOM = 1.25
"""A pass that takes a second begins so many seconds after the one before it. The rest of the
machine's time is for requests that do not stream."""

_REMEMBERED = 4  # passes
_FORGOTTEN = 10.0
"""Seconds, or four passes if these take longer, after which old passes say nothing any more."""

_SOON = 1.0  # seconds between two passes up to which there is time for all of the context


def borne_context(seconds: float, step: float) -> float:
    """How much of ``seconds`` of context to hear while passes are ``step`` seconds apart.

    Context makes passes longer. At least half of it is worth that.
    """
    return seconds * max(0.5, min(1.0, _SOON / step))


class Cadence:
    """Learns from the passes of one utterance after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=_REMEMBERED)
        self._ended = 0.0

    def took(self, seconds: float) -> None:
        """Learn how long a pass took, the wait for a worker included."""
        self._taken.append(seconds)
        self._ended = self._clock()

    @property
    def borne(self) -> float | None:
        """Seconds between passes that the machine bears; None if there was none lately."""
        if not self._taken:
            return None
        found = _HEADROOM * mean(self._taken)
        lately = self._clock() - self._ended <= max(_FORGOTTEN, _REMEMBERED * found)
        return found if lately else None

    @property
    def step(self) -> float:
        """Seconds of new audio that the next pass should have."""
        return max(LEAST_STEP, self.borne or 0.0)
