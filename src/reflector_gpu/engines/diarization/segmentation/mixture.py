"""A diarizer of pipelines like pyannote/speaker-diarization-community-1, on ONNX Runtime alone.

It follows `SpeakerDiarization` of pyannote.audio 4: a segmentation network finds the speakers of
each window, an embedding network describes their voices, and a mixture of speakers in the space of
a PLDA (`vbx`) finds the people. Memory grows only with the voices of a recording, by some 5 MB an
hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.segmentation.hearing import grid_of, heard
from reflector_gpu.engines.diarization.segmentation.networks import MaskedEmbedding, Segmentation
from reflector_gpu.engines.diarization.segmentation.pairing import NOBODY, best_pairs
from reflector_gpu.engines.diarization.segmentation.pipeline import (
    EMBEDDING,
    SEGMENTATION,
    Pipeline,
    read,
)
from reflector_gpu.engines.diarization.segmentation.reconstruction import turns
from reflector_gpu.engines.diarization.segmentation.vbx import people
from reflector_gpu.engines.diarization.segmentation.voices import MaskedVoices
from reflector_gpu.engines.outcomes import each
from reflector_gpu.errors import ModelNotInstalled, ReflectorError
from reflector_gpu.types import DiarizeOptions, SpeakerTurn


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    pipeline: Pipeline
    segmentation: Segmentation
    voices: MaskedVoices


class MixtureDiarizer:
    """``weights`` is the pipeline's folder. ``device`` is ``cpu`` or ``cuda``."""

    def __init__(self, weights: str, device: str = "cpu") -> None:
        self._folder = Path(weights)
        self._device = device
        self._loaded: _Loaded | None = None

    def load(self) -> None:
        pipeline = read(self._folder)
        segmentation = Segmentation(self._folder / SEGMENTATION, self._device)
        embedding = MaskedEmbedding(
            self._folder / EMBEDDING, self._device, frames=segmentation.frames
        )
        if embedding.dimensions != pipeline.plda.dimensions:
            raise ModelNotInstalled(
                f"The embedding network of this pipeline gives {embedding.dimensions} numbers, and "
                f"its PLDA takes {pipeline.plda.dimensions}."
            )
        voices = MaskedVoices(embedding, segmentation.window, alone=pipeline.alone)
        self._loaded = _Loaded(pipeline, segmentation, voices)

    def diarize(
        self, recordings: Sequence[PcmRecording], options: DiarizeOptions
    ) -> Sequence[Sequence[SpeakerTurn] | ReflectorError]:
        assert self._loaded is not None, "load() comes first"
        loaded = self._loaded
        return each(lambda recording: _diarize(recording, options, loaded), recordings)

    def close(self) -> None:
        self._loaded = None


def _diarize(
    recording: PcmRecording, options: DiarizeOptions, loaded: _Loaded
) -> list[SpeakerTurn]:
    pipeline, segmentation = loaded.pipeline, loaded.segmentation
    grid = grid_of(segmentation, round(pipeline.step * segmentation.window))
    windows, voices = heard(recording.pcm, grid, segmentation, loaded.voices)
    if not voices.found:
        return []
    found = people(voices.clear, pipeline.plda, pipeline.tuning, options)
    who = np.full((len(windows), segmentation.speakers), NOBODY, np.intp)
    for window, speakers, vectors in voices.by_window():
        alike = vectors @ found.centroids.T
        who[window, speakers] = best_pairs(alike) if found.apart else alike.argmax(axis=1)
    together = 1 if options.exclusive else options.most
    return joined(turns(windows, who, recording.seconds, together), pipeline.pause)


def joined(found: Sequence[SpeakerTurn], pause: float) -> list[SpeakerTurn]:
    """``found``, where turns of one speaker that are at most ``pause`` seconds apart are joined."""
    kept: list[SpeakerTurn] = []
    for speaker in sorted({turn.speaker for turn in found}):
        own = [turn for turn in found if turn.speaker == speaker]
        breaks = [
            n for n, (one, other) in enumerate(pairwise(own), 1) if other.start - one.end > pause
        ]
        parts = pairwise([0, *breaks, len(own)])
        kept += [SpeakerTurn(own[first].start, own[last - 1].end, speaker) for first, last in parts]
    return sorted(kept, key=lambda turn: (turn.start, turn.end, turn.speaker))
