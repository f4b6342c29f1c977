"""Keep decoded audio on disk, and note where there is speech, so that it is decoded only once."""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress

import numpy as np

from reflector_gpu.audio.decode import BLOCK_SAMPLES
from reflector_gpu.audio.speech import spans, whole_windows
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import WINDOW, VoiceActivity
from reflector_gpu.pcm import PcmFile, encoded
from reflector_gpu.types import SAMPLE_RATE, Samples


class Recorder:
    """Keeps a recording for a diarizer while a recogniser hears it. The caller closes it."""

    def __init__(self, directory: os.PathLike[str] | None = None) -> None:
        """The samples go to a file without a name in ``directory``."""
        self.complete: Future[None] = Future()
        """Done once the whole recording is kept; fails with the error that ended it early."""
        self._pcm = Spool(limit=2**62, directory=directory)
        self._probabilities = array("f")
        self._samples = 0

    @property
    def descriptor(self) -> int:
        """The open file: nothing but 16-bit mono samples at `SAMPLE_RATE`."""
        return self._pcm.fileno()

    @property
    def seconds(self) -> float:
        return self._samples / SAMPLE_RATE

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
            self._pcm.write(encoded(block))
            self._samples += len(block)
            yield block

    def detector(self) -> Callable[[Samples], Samples]:
        """A detector for the recording, whose findings are kept for `speech`."""
        voice = VoiceActivity()

        def probabilities(samples: Samples) -> Samples:
            found = voice.probabilities(samples)
            self._probabilities.extend(found.tolist())
            return found

        return probabilities

    def listen(self, blocks: Iterable[Samples]) -> Iterator[float]:
        """Keep ``blocks`` and detect their speech, without a recogniser; yields seconds so far."""
        probabilities = self.detector()
        with self.completing():
            for windows, _ in whole_windows(self.kept(blocks)):
                probabilities(windows)
                yield self.seconds

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

    @contextmanager
    def completing(self) -> Iterator[None]:
        """Settle `complete` when the block, which keeps the whole recording, ends or fails."""
        try:
            yield
        except Exception as error:  # any error has to reach the waiters
            with suppress(InvalidStateError):  # they have left, and so cancelled it
                self.complete.set_exception(error)
            raise
        with suppress(InvalidStateError):
            self.complete.set_result(None)

    def read(self, first: int, last: int) -> Samples:
        """The samples from ``first`` to before ``last``; silence past the end."""
        return PcmFile(self.descriptor).read(first, last)

    def close(self) -> None:
        self._pcm.close()
