"""Whether the machine bears one more session, by how often it hears those that speak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from statistics import median

from reflector_gpu.errors import Overloaded
from reflector_gpu.live.cadence import Cadence

_RETRY_SECONDS = 10.0


class Load:
    """The sessions that share the workers. Use it in one event loop."""

    def __init__(self, longest_step: float = inf) -> None:
        """Passes may be ``longest_step`` seconds apart."""
        self._longest_step = longest_step
        self._speaking: set[Cadence] = set()

    @contextmanager
    def speaking(self, cadence: Cadence) -> Iterator[None]:
        """Count a session, for as long as it has speech to recognise."""
        self._speaking.add(cadence)
        try:
            yield
        finally:
            self._speaking.discard(cadence)

    def check(self) -> None:
        """Raise `Overloaded` unless one more session can be heard often enough.

        Sessions share the workers equally, so the steps grow with their number.
        """
        steps = [cadence.borne for cadence in self._speaking if cadence.borne is not None]
        if not steps:
            return
        expected = median(steps) * (len(steps) + 1) / len(steps)
        if expected > self._longest_step:
            raise Overloaded(
                f"With another session, words would come every {expected:.1f} seconds, and the "
                f"limit is {self._longest_step:g}; try again later.",
                retry_after=_RETRY_SECONDS,
            )
