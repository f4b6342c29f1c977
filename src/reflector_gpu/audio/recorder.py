"""Keep decoded audio on disk, and note where there is speech, so that it is decoded only once."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import numpy as np

from reflector_gpu.audio.decode import BLOCK_SAMPLES
from reflector_gpu.audio.speech import spans, whole_windows
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import WINDOW, VoiceActivity
from reflector_gpu.pcm import SAMPLE_BYTES, PcmFile, encoded
from reflector_gpu.types import SAMPLE_RATE, Samples

MOST_BYTES = 2**62
"""The limit of a spool that has none: what is decoded is limited by its seconds."""


class Recorder:
    """Keeps a recording for a diarizer while a recogniser hears it. The caller closes it."""

    def __init__(self, pcm: Spool | None = None) -> None:
        """The samples go to ``pcm``, which must be empty; closing the recorder closes it."""
        self.pcm = pcm or Spool(limit=MOST_BYTES)
        self.complete: Future[None] = Future()
        """Done once the whole recording is kept; fails with the error that ended it early."""
        self._probabilities = array("f")
        self._samples = 0

    @property
    def descriptor(self) -> int:
        """The open file: nothing but 16-bit mono samples at `SAMPLE_RATE`."""
        return self.pcm.fileno()

    @property
    def seconds(self) -> float:
        return self._samples / SAMPLE_RATE

    @property
    def probabilities(self) -> Samples:
        """What the detector found in each of its windows so far, ``float32[n]``."""
        return np.array(self._probabilities, np.float32)

    @property
    def speech(self) -> list[tuple[float, float]]:
        """The (start, end) in seconds of all speech."""
        return spans(self._probabilities, self.seconds)

    def kept(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Pass ``blocks`` on and write them to the file.

        Raises:
            StorageFull: the disk is full.
        """
        for block in blocks:
            self.pcm.write(encoded(block))
            self._samples += len(block)
            yield block

    def detector(self) -> Callable[[Samples], Samples]:
        """A detector for the recording. What it finds is kept for `speech`."""
        voice = VoiceActivity()

        def probabilities(samples: Samples) -> Samples:
            found = voice.probabilities(samples)
            self._probabilities.extend(found.tolist())
            return found

        return probabilities

    def listen(
        self, blocks: Iterable[Samples], detector: Callable[[Samples], Samples]
    ) -> Iterator[float]:
        """Keep ``blocks`` and detect their speech, without a recogniser; yields seconds so far.

        ``detector`` is `detector`, or wraps it.
        """
        for windows, _ in whole_windows(self.kept(blocks)):
            detector(windows)
            yield self.seconds

    def settle(self, probabilities: Samples) -> None:
        """The whole recording has been written to `pcm`; the detector found ``probabilities``."""
        self._probabilities = array("f", probabilities.astype(np.float32).tobytes())
        self._samples = self.pcm.size // SAMPLE_BYTES
        with suppress(InvalidStateError):  # those who waited have left, and so cancelled it
            self.complete.set_result(None)

    def fail(self, error: Exception) -> None:
        """The recording will not be complete."""
        with suppress(InvalidStateError):
            self.complete.set_exception(error)

    def append(self, samples: Samples) -> None:
        """Add ``samples`` to a recording that is complete, from the next whole window on.

        Raises:
            StorageFull: the disk is full.
        """
        padding = np.zeros(-self._samples % WINDOW, np.float32)
        blocks = np.split(samples, range(BLOCK_SAMPLES, len(samples), BLOCK_SAMPLES))
        probabilities = self.detector()
        deque(self.kept([padding]), maxlen=0)
        for windows, _ in whole_windows(self.kept(blocks)):
            probabilities(windows)

    def read(self, first: int, last: int) -> Samples:
        """The samples from ``first`` to before ``last``; silence past the end."""
        return PcmFile(self.descriptor).read(first, last)

    def close(self) -> None:
        self.pcm.close()
