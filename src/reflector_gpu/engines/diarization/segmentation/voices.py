"""How the speakers of each window sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.segmentation.filterbank import HOP, WINDOW
from reflector_gpu.engines.diarization.segmentation.networks import (
    Activity,
    Embedding,
    MaskedEmbedding,
    centres,
)
from reflector_gpu.engines.diarization.segmentation.reconstruction import Grid
from reflector_gpu.engines.diarization.segmentation.vbx import Voices
from reflector_gpu.types import SAMPLE_RATE, Samples

_FRAMES_PER_SECOND = SAMPLE_RATE // HOP
_CLEAR_SECONDS = 1.0  # that a voice must speak alone to make a cluster
_CLEAR_SHARE = 0.2  # of a window, the same for a pyannote pipeline
_FEWEST_FRAMES = 20  # of features for an embedding: ResNets fail on fewer


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """The vector of a ``speaker`` of a window. It is ``clear`` if enough of it was heard without
    anybody else."""

    speaker: int
    vector: npt.NDArray[np.float32]
    clear: bool


class Describer(Protocol):
    """Makes vectors of the voices of a window."""

    def voices(self, sound: Samples, active: Activity) -> Iterator[Voice]:
        """Those of ``sound``, a window in which speakers are ``active``."""


class CroppedVoices:
    """Describes a voice by the features of what it says alone, and nothing else."""

    def __init__(self, embedding: Embedding, grid: Grid) -> None:
        self._embedding = embedding
        self._grid = grid
        self._middles = grid.middle + np.arange(grid.frames) * grid.shift

    def voices(self, sound: Samples, active: Activity) -> Iterator[Voice]:
        if not active.any():
            return
        features = self._embedding.features(sound)
        nearest = np.searchsorted(self._middles, centres(len(features)) - self._grid.shift // 2)
        spoken = active[np.minimum(nearest, self._grid.frames - 1)]
        for speaker, (own, clear) in enumerate(_own(spoken)):
            if len(own) and (vector := self._embedding.voice(features[own])).any():
                yield Voice(speaker, vector, clear)


class MaskedVoices:
    """Describes a voice as pyannote does: the network hears all of the window and is told when.

    With ``alone``, that is when nobody else speaks, unless there is too little of it.
    """

    def __init__(self, embedding: MaskedEmbedding, window: int, *, alone: bool) -> None:
        self._embedding = embedding
        self._alone = alone
        self._shortest = WINDOW / window  # a share of a window that has features

    def voices(self, sound: Samples, active: Activity) -> Iterator[Voice]:
        speakers = np.flatnonzero(active.any(axis=0))
        if not len(speakers):
            return
        alone = active & (active.sum(axis=1) == 1)[:, None]
        seconds = alone.sum(axis=0)
        enough = seconds > np.ceil(len(active) * self._shortest)
        masks = np.where(enough & self._alone, alone, active)[:, speakers]
        vectors = self._embedding.voices(sound, masks.T)
        for speaker, vector in zip(speakers.tolist(), vectors, strict=True):
            if vector.any():
                clear = seconds[speaker] >= _CLEAR_SHARE * len(active)
                yield Voice(speaker, vector, bool(clear))


class VoiceStore:
    """The voices of all windows at half precision."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self._units: list[npt.NDArray[np.float16]] = []
        self._lengths: list[float] = []
        self._clear: list[bool] = []

    def append(self, window: int, voice: Voice) -> None:
        length = float(np.linalg.norm(voice.vector))
        self.found.append((window, voice.speaker))
        self._units.append((voice.vector / length).astype(np.float16))
        self._lengths.append(length)
        self._clear.append(voice.clear)

    @property
    def clear(self) -> Voices:
        """Those that show well."""
        return self._chosen(np.flatnonzero(self._clear))

    @property
    def clearest(self) -> Voices:
        """Those that show well, or all if none does."""
        return self.clear if any(self._clear) else self._chosen(np.arange(len(self.found)))

    def by_window(self) -> Iterator[tuple[int, list[int], npt.NDArray[np.float32]]]:
        """The number of a window, its speakers, and their vectors of length 1."""
        first = 0
        while first < len(self.found):
            window, last = self.found[first][0], first
            while last < len(self.found) and self.found[last][0] == window:
                last += 1
            speakers = [speaker for _, speaker in self.found[first:last]]
            yield window, speakers, np.stack(self._units[first:last]).astype(np.float32)
            first = last

    def _chosen(self, rows: npt.NDArray[np.intp]) -> Voices:
        dimensions = len(self._units[0]) if self._units else 0
        units = np.empty((len(rows), dimensions), np.float16)
        for row, index in enumerate(rows):
            units[row] = self._units[index]
        return Voices(units, np.array(self._lengths, np.float32)[rows])


def _own(spoken: Activity) -> Iterator[tuple[npt.NDArray[np.intp], bool]]:
    """For each speaker, the frames that show the voice, and whether they show it well.

    They are those in which nobody else speaks, unless there are too few of these.
    """
    alone = spoken.sum(axis=1) == 1
    for speaks in spoken.T:
        own = np.flatnonzero(speaks & alone)
        clear = len(own) >= _CLEAR_SECONDS * _FRAMES_PER_SECOND
        if len(own) < _FEWEST_FRAMES:
            own = np.flatnonzero(speaks)
        if 0 < len(own) < _FEWEST_FRAMES:
            own = np.resize(own, _FEWEST_FRAMES)  # repeats them
        yield own, clear
