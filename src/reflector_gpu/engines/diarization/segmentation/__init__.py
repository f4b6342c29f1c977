"""A diarizer of two small networks: pyannote's segmentation and a speaker embedding.

It does what pyannote/speaker-diarization-3.1 does, on ONNX Runtime alone. In a window of ten
seconds, the segmentation network finds which of up to three speakers are active in each frame,
overlaps included. Windows overlap, too. Where a window's speaker speaks alone, the voice becomes a
vector. Clusters of vectors are people (`clustering`), and the joined windows are their turns
(`reconstruction`). Windows are read from disk one after the other. Of each, its frames are kept as
bits, and its voices: a few megabytes an hour. The result is deterministic.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.base import DiarizerModel, DiarizerSpec, Pcm, PcmRecording
from reflector_gpu.engines.diarization.segmentation.clustering import assigned, people
from reflector_gpu.engines.diarization.segmentation.filterbank import HOP
from reflector_gpu.engines.diarization.segmentation.networks import (
    Activity,
    Embedding,
    Segmentation,
    centres,
)
from reflector_gpu.engines.diarization.segmentation.reconstruction import (
    NOBODY,
    Grid,
    Windows,
    turns,
)
from reflector_gpu.engines.outcomes import each
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import ModelNotInstalled, ReflectorError
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

# With TensorRT it runs on CUDA: both networks are small, and voices are of many lengths.
SPEC = DiarizerSpec(quick_restart=True, devices=("cpu", "cuda"))

ENGINE = "reflector_gpu.engines.diarization.segmentation:SegmentationDiarizer"

_SEGMENTATION, _EMBEDDING = "model.onnx", "wespeaker_en_voxceleb_resnet34_LM.onnx"

MODELS = (
    DiarizerModel(
        "segmentation",
        ENGINE,
        SPEC,
        "pyannote segmentation 3.0 and WeSpeaker ResNet34: overlaps too, any language",
        "MIT and CC-BY-4.0",
        packages=("huggingface_hub",),
        extra="segmentation",
        weights=Weights(
            "csukuangfj/sherpa-onnx-pyannote-segmentation-3-0",
            (_SEGMENTATION,),
            (_SEGMENTATION,),
            33,
            beside=Weights("csukuangfj/speaker-embedding-models", (_EMBEDDING,), (_EMBEDDING,), 27),
        ),
        arguments={"segmentation": _SEGMENTATION, "embedding": _EMBEDDING},
    ),
)

_OWN_SEGMENTATION, _OWN_EMBEDDING = "segmentation.onnx", "embedding.onnx"

_STEPS: Mapping[str, float] = {"cpu": 0.25, "cuda": 0.1}
"""The distance of windows, as a share of one. A tenth is pyannote's. Nearly all time goes to the
voices of windows, so CPUs take a larger step."""

_FRAMES_PER_SECOND = SAMPLE_RATE // HOP
_CLEAR_SECONDS = 1.0  # that a voice must speak alone to make a cluster
_SPEAKER_SECONDS = 12.0  # of windows that a speaker of a long recording must be heard in
_FEWEST_FRAMES = 20  # of features for an embedding: ResNets fail on fewer
_BATCH = 8  # windows


def local(name: str, folder: Path) -> DiarizerModel | None:
    """The pair of networks in ``folder``, if it is there."""
    if not all((folder / file).is_file() for file in (_OWN_SEGMENTATION, _OWN_EMBEDDING)):
        return None
    return DiarizerModel(
        name,
        ENGINE,
        SPEC,
        "Segmentation and speaker embedding from a local folder",
        "see the folder",
        arguments={"weights": str(folder)},
    )


class SegmentationDiarizer:
    """``weights`` is the folder with the two ONNX files, or several folders as in ``PATH``.

    ``device`` is ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        weights: str,
        device: str = "cpu",
        segmentation: str = _OWN_SEGMENTATION,
        embedding: str = _OWN_EMBEDDING,
    ) -> None:
        self._folders = [Path(folder) for folder in weights.split(os.pathsep)]
        self._device = device
        self._files = segmentation, embedding
        self._networks: tuple[Segmentation, Embedding] | None = None

    def load(self) -> None:
        segmentation, embedding = (self._found(file) for file in self._files)
        self._networks = (
            Segmentation(segmentation, self._device),
            Embedding(embedding, self._device),
        )

    def diarize(
        self, recordings: Sequence[PcmRecording], options: DiarizeOptions
    ) -> Sequence[Sequence[SpeakerTurn] | ReflectorError]:
        assert self._networks is not None, "load() comes first"
        networks, step = self._networks, _STEPS[self._device]
        return each(lambda recording: diarize(recording, options, *networks, step=step), recordings)

    def close(self) -> None:
        self._networks = None

    def _found(self, file: str) -> Path:
        for folder in self._folders:
            if (folder / file).is_file():
                return folder / file
        raise ModelNotInstalled(f"The folder of this diarizer has no {file}.")


def diarize(
    recording: PcmRecording,
    options: DiarizeOptions,
    segmentation: Segmentation,
    embedding: Embedding,
    *,
    step: float,
) -> list[SpeakerTurn]:
    """The turns in ``recording``. Windows are ``step`` apart, a share of one."""
    grid = Grid(
        segmentation.field // 2,
        segmentation.shift,
        segmentation.frames,
        max(1, round(step * segmentation.frames)),
    )
    windows, voices = _heard(recording.pcm, grid, segmentation, embedding)
    if not voices.found:
        return []
    fewest = round(_SPEAKER_SECONDS * SAMPLE_RATE / (grid.step * grid.shift))
    centroids = people(voices.clear, fewest, options)
    who = np.full((len(windows), segmentation.speakers), NOBODY, np.intp)
    for window, speakers, vectors in voices.by_window():
        who[window, speakers] = assigned(vectors, centroids)
    return turns(windows, who, recording.seconds, options.most)


class _Voices:
    """A vector at half precision for each speaker of each window."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self._vectors: list[npt.NDArray[np.float16]] = []
        self._clear: list[bool] = []

    def append(self, window: int, speaker: int, vector: Samples, *, clear: bool) -> None:
        self.found.append((window, speaker))
        self._vectors.append(vector.astype(np.float16))
        self._clear.append(clear)

    @property
    def clear(self) -> npt.NDArray[np.float32]:
        """The vectors that show a voice well, or all if none does."""
        clear = self._clear if any(self._clear) else [True] * len(self._clear)
        return np.stack([v for v, good in zip(self._vectors, clear, strict=True) if good]).astype(
            np.float32
        )

    def by_window(self) -> Iterator[tuple[int, list[int], npt.NDArray[np.float32]]]:
        """The number of a window, its speakers, and their vectors."""
        first = 0
        while first < len(self.found):
            window, last = self.found[first][0], first
            while last < len(self.found) and self.found[last][0] == window:
                last += 1
            speakers = [speaker for _, speaker in self.found[first:last]]
            yield window, speakers, np.stack(self._vectors[first:last]).astype(np.float32)
            first = last


def _heard(
    pcm: Pcm, grid: Grid, segmentation: Segmentation, embedding: Embedding
) -> tuple[Windows, _Voices]:
    windows, voices = Windows(grid, segmentation.speakers), _Voices()
    middles = grid.middle + np.arange(grid.frames) * grid.shift
    for batch in _batches(pcm, segmentation.window, grid.step * grid.shift):
        for sound, active in zip(batch, segmentation.active(batch), strict=True):
            window = len(windows)
            windows.append(active)
            if not active.any():
                continue
            features = embedding.features(sound)
            nearest = np.searchsorted(middles, centres(len(features)) - grid.shift // 2)
            spoken = active[np.minimum(nearest, grid.frames - 1)]
            for speaker, (own, clear) in enumerate(_own(spoken)):
                if len(own) and (vector := embedding.voice(features[own])).any():
                    voices.append(window, speaker, vector, clear=clear)
    return windows, voices


def _batches(pcm: Pcm, window: int, step: int) -> Iterator[Samples]:
    """``float32[n, window]``: windows ``step`` samples apart, with zeros after the end."""
    count = 1 + max(0, -(-(pcm.length - window) // step))
    for first in range(0, count if pcm.length else 0, _BATCH):
        begins = range(first * step, min(first + _BATCH, count) * step, step)
        yield np.stack([pcm.read(begin, begin + window) for begin in begins])


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
