"""A diarizer without a trained model: Gaussians, merged by the BIC, and resegmentation.

It follows ICSI (Ajmera and Wooters 2003). Bottom-up clustering finds more voices than there can be.
Then two steps alternate until any two voices are different people: the speech is assigned to the
voices again, and the closest two are merged. The result is deterministic. It takes NumPy alone, and
a hundredth of the recording's time on one core. It needs about five seconds of speech of each
speaker, assumes one speaker at a time, and misses interjections under a second and a half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reflector_gpu.engines.diarization.base import DiarizerModel, DiarizerSpec, Pcm, PcmRecording
from reflector_gpu.engines.diarization.bic.cepstra import HOP, WINDOW, Frames, frames
from reflector_gpu.engines.diarization.bic.merging import (
    PENALTY,
    Clusters,
    Evidence,
    Labels,
    agglomerate,
)
from reflector_gpu.engines.diarization.bic.resegmentation import resegment
from reflector_gpu.engines.diarization.bic.store import BATCH, BLOCK, FrameStore
from reflector_gpu.engines.outcomes import each
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, SpeakerTurn

SPEC = DiarizerSpec(needs_speech=True, single_threaded=True, quick_restart=True)

MODELS = (
    DiarizerModel(
        "bic",
        "reflector_gpu.engines.diarization.bic:BicDiarizer",
        SPEC,
        "Gaussians merged by the BIC: no trained model, one speaker at a time",
        "MIT",
    ),
)

_UNIT = 20  # blocks that clustering starts from: two seconds
_VOICE_SECONDS = 8  # of speech for each voice that resegmentation starts from
_LEAST_VOICES, _MOST_VOICES = 8, 16  # how many of these voices there are
_DIFFERENT = 0.48  # nats that each frame of a pair gains apart if they are two speakers
_BALANCE = 6  # in a comparison, a voice counts at most this many times the smaller one
_SLIVER = 5  # blocks; a shorter run at the edge of a span is no turn
_FRAMES_PER_SECOND = SAMPLE_RATE // HOP


class BicDiarizer:
    def load(self) -> None:
        """Nothing to load."""

    def diarize(
        self, recordings: Sequence[PcmRecording], options: DiarizeOptions
    ) -> Sequence[Sequence[SpeakerTurn] | ReflectorError]:
        return each(lambda recording: _diarize(recording, options), recordings)

    def close(self) -> None:
        """Nothing to free."""


def _diarize(recording: PcmRecording, options: DiarizeOptions) -> list[SpeakerTurn]:
    spans = [_Span.of(start, end, recording.pcm) for start, end in recording.speech]
    spans = [span for span in spans if span.blocks]
    if not spans:
        return []
    with closing(FrameStore()) as store:
        for span in spans:
            for rows in span.frames(recording.pcm):
                store.append(rows)
        return turns(spans, _voices(store, spans, options))


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of speech in seconds, its first frame, and its number of whole blocks."""

    start: float
    end: float
    first: int
    blocks: int

    @classmethod
    def of(cls, start: float, end: float, pcm: Pcm) -> _Span:
        first, last = int(start * _FRAMES_PER_SECOND), int(end * _FRAMES_PER_SECOND)
        return cls(start, end, first, max(0, min(last, pcm.length // HOP) - first) // BLOCK)

    def frames(self, pcm: Pcm) -> Iterator[Frames]:
        last = self.first + self.blocks * BLOCK
        for begin in range(self.first, last, BATCH):
            end = min(begin + BATCH, last)
            yield frames(pcm.read(begin * HOP - 1, (end - 1) * HOP + WINDOW))


def _voices(store: FrameStore, spans: Sequence[_Span], options: DiarizeOptions) -> Labels:
    """A voice for each block."""
    evidence = Evidence.of(store.sample())
    units = _units(spans)
    voices = round(store.blocks * BLOCK / _FRAMES_PER_SECOND / _VOICE_SECONDS)
    voices = max(options.fewest, min(max(voices, _LEAST_VOICES), _MOST_VOICES))
    labels = agglomerate(evidence.clusters(store, units), voices)[units]
    while labels.max() > 0:
        found = resegment(store, evidence, labels)
        if found.max() + 1 >= options.fewest:  # otherwise somebody who barely speaks is lost
            labels = found
        pair = _same(evidence.clusters(store, labels), options)
        if pair is None:
            break
        labels = np.unique(np.where(labels == pair[1], pair[0], labels), return_inverse=True)[1]
    return labels


def _units(spans: Sequence[_Span]) -> Labels:
    """The unit of each block: about two seconds, inside one span."""
    units: list[Labels] = []
    found = 0
    for span in spans:
        count = max(1, round(span.blocks / _UNIT))
        units.append(np.arange(span.blocks) * count // span.blocks + found)
        found += count
    return np.concatenate(units)


def _same(clusters: Clusters, options: DiarizeOptions) -> tuple[int, int] | None:
    """The closest two voices that may be one person's, if there are any."""
    n = clusters.frames
    if len(n) <= options.fewest:
        return None
    too_many = options.most is not None and len(n) > options.most
    best, pair = np.inf, None
    for i in range(len(n) - 1):
        others = np.arange(i + 1, len(n))
        gain, penalty = clusters.apart(i, others)
        smaller = np.minimum(n[i], n[others])
        counted = np.minimum(n[i] + n[others], _BALANCE * smaller)
        same = gain <= np.maximum(PENALTY * penalty, _DIFFERENT * counted)
        distance = np.where(same | too_many, gain - PENALTY * penalty, np.inf)
        j = int(distance.argmin())
        if distance[j] < best:
            best, pair = float(distance[j]), (i, int(others[j]))
    return pair


def turns(spans: Sequence[_Span], labels: Labels) -> list[SpeakerTurn]:
    """A turn for each run of equal ``labels``. Speakers are numbered as they first speak."""
    begins = np.cumsum([span.blocks for span in spans])[:-1]
    labels = np.concatenate([_without_slivers(own) for own in np.split(labels, begins)])
    _, first, labels = np.unique(labels, return_index=True, return_inverse=True)
    number = first.argsort().argsort()
    found: list[SpeakerTurn] = []
    for span, own in zip(spans, np.split(number[labels], begins), strict=True):
        cuts = _changes(own)
        inner = [float(span.first + cut * BLOCK) / _FRAMES_PER_SECOND for cut in cuts]
        edges = pairwise([span.start, *inner, span.end])
        speakers = own[[0, *cuts]]
        found += [SpeakerTurn(*e, int(k)) for e, k in zip(edges, speakers, strict=True)]
    return found


def _without_slivers(labels: Labels) -> Labels:
    """``labels`` of a span, with the shortest runs joined to the longer of their neighbours.

    The best path knows no pauses. If another speaker begins after a pause, it may change a little
    too early or too late, because all voices fit silence equally well.
    """
    while True:
        edges = np.array([0, *_changes(labels), len(labels)])
        lengths = np.diff(edges)
        k = int(lengths.argmin())
        if len(lengths) == 1 or lengths[k] >= _SLIVER:
            return labels
        neighbours = [i for i in (k - 1, k + 1) if 0 <= i < len(lengths)]
        beside = max(neighbours, key=lengths.__getitem__)
        labels = labels.copy()
        labels[edges[k] : edges[k + 1]] = labels[edges[beside]]


def _changes(labels: Labels) -> Labels:
    """The indices at which the label changes."""
    changes: Labels = np.flatnonzero(np.diff(labels)) + 1
    return changes
