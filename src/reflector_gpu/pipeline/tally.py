"""Who counts the audio that is worked on hears of it in this way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from reflector_gpu.audio.spool import Spool
from reflector_gpu.types import SAMPLE_RATE, Samples


class Tally(Protocol):
    """Is told of one recording's length, by threads. See `runtime.admission.Recording`."""

    def expect(self, seconds: float) -> None:
        """The recording claims to be ``seconds`` long, or is known to be in the end."""

    def decoded(self, seconds: float, plausible: float) -> None:
        """The first ``seconds`` have been decoded; so many are ``plausible``.

        What this raises ends the work.
        """


class Uncounted:
    """A `Tally` for whoever does not count."""

    def expect(self, seconds: float) -> None: ...

    def decoded(self, seconds: float, plausible: float) -> None: ...


UNCOUNTED = Uncounted()


class Meter:
    """How much audio has passed, and where it can be stopped: block by block."""

    def __init__(self, tally: Tally, spool: Spool) -> None:
        """``tally`` hears of what passes, which is read from ``spool``."""
        self._tally = tally
        self._spool = spool
        self._samples = 0
        self._ended = False
        self._stopped = False

    @property
    def seconds(self) -> float:
        return self._samples / SAMPLE_RATE

    def count(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        for block in blocks:
            if self._stopped:
                return
            self._samples += len(block)
            self._tally.decoded(self.seconds, self._spool.plausible_seconds)
            yield block
        self._ended = True

    def at_end(self) -> bool:
        """Whether no more audio will pass."""
        return self._ended

    def stop(self) -> None:
        """End the audio at the next block, from any thread."""
        self._stopped = True
