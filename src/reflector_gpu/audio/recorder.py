"""What a decoder gives, kept on disk for whoever needs all of it, and where there is speech."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from reflector_gpu.audio.decode import BLOCK_SAMPLES
from reflector_gpu.audio.speech import spans, whole_windows
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import WINDOW, VoiceActivity
from reflector_gpu.pcm import PcmFile, encoded
from reflector_gpu.types import SAMPLE_RATE, Samples


class Recorder:
    """Lets one decoding serve a recogniser and a diarizer. The caller closes it."""

    def __init__(self, directory: Path | None = None) -> None:
        """``directory`` is where the samples go; the file there has no name.

        Raises:
            StorageFull: it cannot be made.
        """
        self.complete: Future[None] = Future()
        """Done when everything has passed, with the error that ended it, if one did."""
        self._pcm = Spool(limit=2**62, directory=directory)
        self._probabilities = array("f")
        self._samples = 0

    @property
    def descriptor(self) -> int:
        """The open file: 16-bit samples, mono, `SAMPLE_RATE`, nothing before or after."""
        return self._pcm.fileno()

    @property
    def seconds(self) -> float:
        return self._samples / SAMPLE_RATE

    @property
    def speech(self) -> list[tuple[float, float]]:
        """The (start, end) in seconds of all speech."""
        return spans(self._probabilities, self.seconds)

    def kept(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """``blocks``, which are written down as they pass.

        Raises:
            StorageFull: the disk is full.
        """
        for block in blocks:
            self._pcm.write(encoded(block))
            self._samples += len(block)
            yield block

    def detector(self) -> Callable[[Samples], Samples]:
        """`VoiceActivity.probabilities` of one recording, whose findings are noted."""
        voice = VoiceActivity()

        def probabilities(samples: Samples) -> Samples:
            found = voice.probabilities(samples)
            self._probabilities.extend(found.tolist())
            return found

        return probabilities

    def listen(self, blocks: Iterable[Samples]) -> Iterator[float]:
        """Keep ``blocks`` and detect the speech in them; yields the seconds so far."""
        probabilities = self.detector()
        with self.completing():
            for windows, _ in whole_windows(self.kept(blocks)):
                probabilities(windows)
                yield self.seconds

    def append(self, samples: Samples) -> None:
        """Write ``samples`` behind a recording that is complete, from the next whole window on.

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
        """What is inside is all there is; how it ends is told to those who wait for it."""
        try:
            yield
        except Exception as error:  # whatever it is, those who wait must hear of it
            self.complete.set_exception(error)
            raise
        self.complete.set_result(None)

    def read(self, first: int, last: int) -> Samples:
        """``float32[last - first]`` of what was kept; silence where there is nothing."""
        return PcmFile(self.descriptor).read(first, last)

    def close(self) -> None:
        self._pcm.close()
