"""How much work of long files may go into one batch, so that live requests wait little for it.

A running batch cannot be interrupted: a live request that arrives waits until it ends. So a batch
with work of long files gets a time limit, and this module says how much work fits it.

- The limit is `FILE_SECONDS`, or `CONTESTED_SECONDS` while live requests keep coming. A single
  piece may take longer than that by itself, as on a GPU, where several take hardly longer than one.
  So the limit is never less than `PATIENCE` times a single piece.
- The time of a batch is predicted by a straight line through two measurements: the usual single
  piece, and the usual batch of several. On a CPU the line goes through zero: a batch has as many
  pieces as fit the limit. On a GPU it begins high and rises slowly: batches fill up.
- Both measurements have to be kept fresh, because other programs come and go. So one batch in
  `PROBE_EVERY` is of the kind that is not in use: a single piece where several are usual, or two
  pieces where single ones are. While live requests keep coming in, two pieces are tried only if
  they have never been.

The second measurement is needed. With a limit by the average speed alone, batches never grow where
a single piece takes longer than the limit: a large model on a GPU gets through files at a quarter
of the speed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

FILE_SECONDS = 1.0
"""The time limit of a batch with work of long files."""

CONTESTED_SECONDS = 0.25
"""The same while live requests come in."""

MEMORY_SECONDS = 30.0
"""How long live requests count as coming in after the last one, if one came as shortly before."""

PATIENCE = 1.5
"""A batch may take so many times as long as a single piece, whatever the limit is."""

PROBE_EVERY = 32
"""One batch of so many is a measurement of the unusual kind. It costs a few percent at most."""

_KEPT = 4  # measurements of each kind
_WARM_UP = (
    2  # single pieces at first: the very first one may be slow, or have the machine to itself
)
_FIRST_PROBE = _WARM_UP + _KEPT  # batches before it: slow ones of the warm-up are forgotten by then
_TINY = 1e-9


class _Measurement(NamedTuple):
    cost: float
    seconds: float

    @property
    def seconds_per_cost(self) -> float:
        return self.seconds / self.cost


class Pace:
    """Learns from the batches with work of long files. The threads of a pool share one."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, interruptible: bool = True
    ) -> None:
        """``interruptible``: live requests use the same workers, so batches have to be short."""
        self._clock = clock
        self._interruptible = interruptible
        self._lock = threading.Lock()
        self._singles: deque[_Measurement] = deque(maxlen=_KEPT)
        self._several: deque[_Measurement] = deque(maxlen=_KEPT)
        self._batches = 0
        self._last_live = float("-inf")
        self._live_again = False

    @property
    def file_cost(self) -> float:
        """The padded cost that the next batch may have, if it has several pieces.

        One piece is always allowed, so 0 means a single piece.
        """
        if not self._interruptible:
            return float("inf")
        with self._lock:
            if len(self._singles) < _WARM_UP:
                return 0.0
            single = _usual(self._singles)
            usual = self._affordable(single, max(self._limit(), PATIENCE * single.seconds))
            if self._batches % PROBE_EVERY != _FIRST_PROBE:
                return usual
            two = 2 * single.cost
            if usual >= two:
                return 0.0
            return usual if self._several and self.contested else two

    def worked(self, pieces: int, cost: float, seconds: float) -> None:
        """Learn that a batch with work of long files took ``seconds``. ``cost`` is padded."""
        if cost <= 0:
            return
        with self._lock:
            self._batches += 1
            kind = self._singles if pieces == 1 else self._several
            kind.append(_Measurement(cost, seconds))

    def live_arrived(self) -> None:
        now = self._clock()
        self._live_again = now - self._last_live < MEMORY_SECONDS
        self._last_live = now

    @property
    def contested(self) -> bool:
        """Whether live requests keep coming in.

        One alone does not count: it may be the first piece of the long file itself.
        """
        return self._live_again and self._clock() - self._last_live < MEMORY_SECONDS

    def _limit(self) -> float:
        return CONTESTED_SECONDS if self.contested else FILE_SECONDS

    def _affordable(self, single: _Measurement, seconds: float) -> float:
        """The cost that takes ``seconds``, by the line through the two measurements.

        The line is only a guess far from what was measured. So the answer is at most twice the
        single piece, or twice the dearest recent batch that stayed within ``seconds``.
        """
        slope = single.seconds_per_cost
        if self._several:
            several = _usual(self._several)
            if several.cost > single.cost:
                slope = (several.seconds - single.seconds) / (several.cost - single.cost)
        cost = single.cost + (seconds - single.seconds) / max(slope, _TINY)
        in_time = [batch.cost for batch in self._several if batch.seconds <= seconds]
        return min(cost, 2 * max([single.cost, *in_time]))


def _usual(measurements: Iterable[_Measurement]) -> _Measurement:
    """The median by speed; of an even number the slower, as some had the machine to themselves."""
    in_order = sorted(measurements, key=lambda one: one.seconds_per_cost)
    return in_order[len(in_order) // 2]
