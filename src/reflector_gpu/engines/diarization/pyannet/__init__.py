"""The diarizer that comes with this package: PyanNet finds speakers, GE2E tells voices apart.

In each window of five seconds pyannote's segmentation network finds which of up to three speakers
are active, also at once (`networks`). What each says alone becomes a vector. Vectors that are alike
enough are one person's (`clustering`), and overlapping windows are joined to turns (`timeline`).

Blocks of windows are read from disk and heard in as many threads as there are cores. Some 3 MB an
hour are kept of them. The result is deterministic.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from reflector_gpu.engines.diarization.base import DiarizerModel, DiarizerSpec, Pcm, PcmRecording
from reflector_gpu.engines.diarization.pyannet.joining import told_apart
from reflector_gpu.engines.diarization.pyannet.live import LiveDiarizer
from reflector_gpu.engines.diarization.pyannet.mel import MARGIN
from reflector_gpu.engines.diarization.pyannet.networks import (
    SHIFT,
    STEP,
    WINDOW,
    WINDOWS,
    Heard,
    Networks,
    Voice,
)
from reflector_gpu.engines.diarization.pyannet.timeline import Windows
from reflector_gpu.engines.diarization.pyannet.voiceprints import Voiceprint, voiceprints
from reflector_gpu.engines.outcomes import each
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import DiarizeOptions, SpeakerTurn

SPEC = DiarizerSpec(quick_restart=True, devices=("cpu", "cuda"))

MODELS = (
    DiarizerModel(
        "pyannet",
        "reflector_gpu.engines.diarization.pyannet:PyannetDiarizer",
        SPEC,
        "pyannote's segmentation and the GE2E speaker encoder: overlaps too, any language",
        "MIT and Apache-2.0",
    ),
)

_HOP = STEP * SHIFT  # samples from a window to the next


class PyannetDiarizer:
    """``device`` is ``cpu`` or ``cuda``."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._networks: Networks | None = None

    def load(self) -> None:
        self._networks = Networks(self._device)

    def diarize(
        self, recordings: Sequence[PcmRecording], options: DiarizeOptions
    ) -> Sequence[Sequence[SpeakerTurn] | ReflectorError]:
        assert self._networks is not None, "load() comes first"
        networks = self._networks
        return each(lambda recording: _diarize(recording, options, networks), recordings)

    def live(self) -> LiveDiarizer:
        """For one recording that goes on; it uses the networks of this engine."""
        assert self._networks is not None, "load() comes first"
        return LiveDiarizer(self._networks)

    def voiceprints(self, pcm: Pcm, turns: Sequence[SpeakerTurn]) -> Mapping[int, Voiceprint]:
        """How each speaker of ``turns`` sounds, if they speak alone for long enough."""
        assert self._networks is not None, "load() comes first"
        return voiceprints(self._networks, pcm, turns)

    def close(self) -> None:
        self._networks = None


def _diarize(
    recording: PcmRecording, options: DiarizeOptions, networks: Networks
) -> list[SpeakerTurn]:
    windows, voices = Windows(), list[Voice]()
    for heard in _heard(recording.pcm, networks):
        voices += [replace(one, window=one.window + len(windows)) for one in heard.voices]
        windows.append(heard)
    return told_apart(windows, voices, recording.seconds, options)


def _heard(pcm: Pcm, networks: Networks) -> Iterator[Heard]:
    """What the networks find in each block of windows, in order."""
    count = 1 + max(0, -(-(pcm.length - WINDOW) // _HOP)) if pcm.length else 0
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Heard]] = deque()
        for first in range(0, count, WINDOWS):
            windows = min(WINDOWS, count - first)
            begin, end = first * _HOP, (first + windows - 1) * _HOP + WINDOW
            samples = pcm.read(begin - MARGIN, end + MARGIN)
            waiting.append(pool.submit(networks.hear, samples, windows))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
