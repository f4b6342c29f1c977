"""A diarizer of two small networks: pyannote's segmentation and a speaker embedding.

It does what pyannote/speaker-diarization-3.1 does, on ONNX Runtime alone. In a window of ten
seconds, the segmentation network finds which of up to three speakers are active in each frame,
overlaps included. Windows overlap, too. Where a window's speaker speaks alone, the voice becomes a
vector (`voices`). Clusters of vectors are people (`clustering`), and the joined windows are their
turns (`reconstruction`). Windows are read from disk one after the other. Of each, its frames are
kept as bits, and its voices: a few megabytes an hour. The result is deterministic.

`mixture` does the same for pipelines like pyannote/speaker-diarization-community-1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reflector_gpu.engines.diarization.base import DiarizerModel, DiarizerSpec, PcmRecording
from reflector_gpu.engines.diarization.segmentation.clustering import assigned, people
from reflector_gpu.engines.diarization.segmentation.hearing import grid_of, heard
from reflector_gpu.engines.diarization.segmentation.networks import Embedding, Segmentation
from reflector_gpu.engines.diarization.segmentation.pairing import NOBODY
from reflector_gpu.engines.diarization.segmentation.pipeline import is_pipeline
from reflector_gpu.engines.diarization.segmentation.reconstruction import turns
from reflector_gpu.engines.diarization.segmentation.voices import CroppedVoices
from reflector_gpu.engines.outcomes import each
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import ModelNotInstalled, ReflectorError
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, SpeakerTurn

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

_SPEAKER_SECONDS = 12.0  # of windows that a speaker of a long recording must be heard in


def local(name: str, folder: Path) -> DiarizerModel | None:
    """The pair of networks in ``folder``, or the pyannote pipeline of ONNX, if it is there."""
    if is_pipeline(folder):
        return DiarizerModel(
            name,
            "reflector_gpu.engines.diarization.segmentation.mixture:MixtureDiarizer",
            SPEC,
            "pyannote pipeline of ONNX networks from a local folder",
            "see the folder",
            packages=("yaml",),
            extra="segmentation",
            arguments={"weights": str(folder)},
        )
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
    frames = max(1, round(step * segmentation.frames))
    grid = grid_of(segmentation, frames * segmentation.shift)
    describer = CroppedVoices(embedding, grid)
    windows, voices = heard(recording.pcm, grid, segmentation, describer)
    if not voices.found:
        return []
    fewest = round(_SPEAKER_SECONDS * SAMPLE_RATE / grid.step)
    centroids = people(voices.clearest.units, fewest, options)
    who = np.full((len(windows), segmentation.speakers), NOBODY, np.intp)
    for window, speakers, vectors in voices.by_window():
        who[window, speakers] = assigned(vectors, centroids)
    return turns(windows, who, recording.seconds, 1 if options.exclusive else options.most)
