"""A recording, window by window: who is active, and how they sound."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reflector_gpu.engines.diarization.base import Pcm
from reflector_gpu.engines.diarization.segmentation.networks import Segmentation
from reflector_gpu.engines.diarization.segmentation.reconstruction import Grid, Windows
from reflector_gpu.engines.diarization.segmentation.voices import Describer, VoiceStore
from reflector_gpu.types import Samples

_BATCH = 8  # windows


def grid_of(segmentation: Segmentation, step: int) -> Grid:
    """The frames of ``segmentation``, and windows that are ``step`` samples apart."""
    return Grid(segmentation.field // 2, segmentation.shift, segmentation.frames, step)


def heard(
    pcm: Pcm, grid: Grid, segmentation: Segmentation, describer: Describer
) -> tuple[Windows, VoiceStore]:
    """All windows and the voices in them."""
    windows, voices = Windows(grid, segmentation.speakers), VoiceStore()
    for batch in _batches(pcm, segmentation.window, grid.step):
        for sound, active in zip(batch, segmentation.active(batch), strict=True):
            for voice in describer.voices(sound, active):
                voices.append(len(windows), voice)
            windows.append(active)
    return windows, voices


def _batches(pcm: Pcm, window: int, step: int) -> Iterator[Samples]:
    """``float32[n, window]``: windows ``step`` samples apart, with zeros after the end."""
    count = 1 + max(0, -(-(pcm.length - window) // step))
    for first in range(0, count if pcm.length else 0, _BATCH):
        begins = range(first * step, min(first + _BATCH, count) * step, step)
        yield np.stack([pcm.read(begin, begin + window) for begin in begins])
