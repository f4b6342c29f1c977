"""Clusters stretches of speech by voice: Gaussians merged by the Bayesian information criterion.

A cluster is a full-covariance Gaussian over the cepstra, and another over the log pitch of its
voiced frames. Each is drawn towards that of the whole recording, so that a model of little speech
stays plausible. What two clusters gain by staying apart is compared with the parameters that a
second model costs (Chen and Gopalakrishnan 1998). Only counts, sums and outer sums are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.bic.cepstra import CEPSTRA, LOUDNESS, PITCH, VOICING, Frames
from reflector_gpu.engines.diarization.bic.store import BLOCK, FrameStore

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Labels: TypeAlias = npt.NDArray[np.intp]
"""The number of a cluster, from 0, for each block, unit or cluster."""

PENALTY = 2.3
"""What a pair has to gain by staying apart, in BIC penalties."""

_QUIET = 0.15  # the share of the quietest frames, which show the room rather than the voice
_VOICED = 0.55
_FEWEST_VOICED = 50  # frames; from fewer, pitch says nothing
_CEPSTRAL_PRIOR, _PITCH_PRIOR = 50.0, 20.0  # frames that the whole recording counts as
_WINDOW = 300  # clusters that are compared in pairs: ten minutes of units
_KEPT = 32  # clusters that are left of a window before windows are joined


@dataclass(frozen=True, slots=True)
class Evidence:
    """Statistics of a whole recording, with which its clusters are compared.

    Frames below the loudness ``quiet`` do not count. ``cepstral`` and ``pitch`` are covariances;
    ``pitch`` is None if hardly any frame is voiced.
    """

    quiet: float
    cepstral: Floats
    pitch: Floats | None

    @classmethod
    def of(cls, sample: Frames) -> Self:
        """Make them from a ``sample`` of the recording's rows."""
        voiced = sample[sample[:, VOICING] > _VOICED, PITCH]
        return cls(
            quiet=float(np.quantile(sample[:, LOUDNESS], _QUIET)),
            cepstral=_covariance(sample[:, :CEPSTRA]),
            pitch=_covariance(sample[:, PITCH:VOICING]) if len(voiced) > _FEWEST_VOICED else None,
        )

    def telling(self, rows: Frames) -> Flags:
        """Which rows are loud enough to show the voice."""
        return np.asarray(rows[:, LOUDNESS] >= self.quiet)

    def clusters(self, store: FrameStore, labels: Labels) -> Clusters:
        """The clusters of blocks with equal ``labels``, of which there is one for each block."""
        count = int(labels.max()) + 1
        streams = [_Stream(self.cepstral, _CEPSTRAL_PRIOR, count)]
        if self.pitch is not None:
            streams.append(_Stream(self.pitch, _PITCH_PRIOR, count))
        for blocks, rows in store.batches():
            owner = np.repeat(labels[blocks], BLOCK)
            telling, voiced = self.telling(rows), rows[:, VOICING] > _VOICED
            streams[0].add(rows[telling, :CEPSTRA], owner[telling])
            if self.pitch is not None:
                streams[1].add(rows[voiced, PITCH:VOICING], owner[voiced])
        return Clusters(streams)


class Clusters:
    """Clusters that can be compared and merged."""

    def __init__(self, streams: Sequence[_Stream]) -> None:
        self._streams = streams
        for stream in streams:
            stream.refresh()

    @property
    def frames(self) -> Floats:
        """``float64[k]``: the telling frames of each."""
        return self._streams[0].count

    def apart(self, one: int, others: Labels) -> tuple[Floats, Floats]:
        """What modelling ``one`` and each of ``others`` apart gains in nats, and what BIC asks."""
        gains, penalties = zip(*(s.apart(one, others) for s in self._streams), strict=True)
        return sum(gains), sum(penalties)

    def merge(self, one: int, other: int) -> None:
        """Add ``other`` to ``one``; ``other`` stays as it is."""
        for stream in self._streams:
            stream.merge(one, other)

    def take(self, which: Labels) -> Clusters:
        return Clusters([stream.take(which) for stream in self._streams])

    def grouped(self, labels: Labels) -> Clusters:
        """The clusters after those with equal ``labels`` are merged."""
        return Clusters([stream.grouped(labels) for stream in self._streams])


class _Stream:
    """Statistics of k clusters: frames [k], their sum [k, d], their outer sum [k, d, d]."""

    def __init__(self, covariance: Floats, prior: float, clusters: int) -> None:
        d = len(covariance)
        self._covariance, self._prior = covariance, prior
        self._parameters = d + d * (d + 1) / 2
        self.count = np.zeros(clusters)
        self._sum, self._outer = np.zeros((clusters, d)), np.zeros((clusters, d, d))

    def add(self, rows: npt.NDArray[np.float32], owners: Labels) -> None:
        for k in np.unique(owners):
            own = rows[owners == k].astype(np.float64)
            self.count[k] += len(own)
            self._sum[k] += own.sum(axis=0)
            self._outer[k] += own.T @ own

    def refresh(self) -> None:
        self._costs = self._cost(self.count, self._sum, self._outer)

    def apart(self, i: int, js: Labels) -> tuple[Floats, Floats]:
        n = self.count[i] + self.count[js]
        joint = self._cost(n, self._sum[i] + self._sum[js], self._outer[i] + self._outer[js])
        penalty = 0.5 * self._parameters * np.log(np.maximum(n, 2))
        return joint - self._costs[i] - self._costs[js], penalty

    def merge(self, i: int, j: int) -> None:
        for part in (self.count, self._sum, self._outer):
            part[i] += part[j]
        (self._costs[i],) = self._cost(self.count[[i]], self._sum[[i]], self._outer[[i]])

    def take(self, which: Labels) -> _Stream:
        taken = _Stream(self._covariance, self._prior, 0)
        taken.count, taken._sum = self.count[which], self._sum[which]
        taken._outer = self._outer[which]
        return taken

    def grouped(self, labels: Labels) -> _Stream:
        groups = _Stream(self._covariance, self._prior, int(labels.max()) + 1)
        np.add.at(groups.count, labels, self.count)
        np.add.at(groups._sum, labels, self._sum)
        np.add.at(groups._outer, labels, self._outer)
        return groups

    def _cost(self, n: Floats, total: Floats, outer: Floats) -> Floats:
        """The negative log likelihood of each cluster's frames, but for a constant."""
        scatter = outer - total[:, :, None] * total[:, None, :] / np.maximum(n, 1)[:, None, None]
        covariance = (scatter + self._prior * self._covariance) / (n + self._prior)[:, None, None]
        logarithms: Floats = np.linalg.slogdet(covariance)[1]
        return n / 2 * logarithms


def agglomerate(clusters: Clusters, target: int) -> Labels:
    """Merge the closest pair until ``target`` are left, and return each cluster's new number.

    Many clusters are first reduced window by window, so that the time is nearly linear.
    """
    kept = max(_KEPT, target)
    count, window = len(clusters.frames), max(_WINDOW, 4 * kept)
    if count <= window:
        return _agglomerate(clusters, target)
    parts, found = [], 0
    for part in np.array_split(np.arange(count), -(-count // window)):
        parts.append(_agglomerate(clusters.take(part), kept) + found)
        found = int(parts[-1].max()) + 1
    labels = np.concatenate(parts)
    return agglomerate(clusters.grouped(labels), target)[labels]


def _agglomerate(clusters: Clusters, target: int) -> Labels:
    n = len(clusters.frames)
    everyone = np.arange(n)
    distance, alive, label = np.full((n, n), np.inf), np.ones(n, bool), everyone.copy()
    for i in range(n - 1):
        gain, penalty = clusters.apart(i, everyone[i + 1 :])
        distance[i, i + 1 :] = gain - PENALTY * penalty
    for _ in range(n - target):
        i, j = divmod(int(distance.argmin()), n)
        clusters.merge(i, j)
        label[label == j], alive[j] = i, False
        distance[j], distance[:, j] = np.inf, np.inf
        others = everyone[alive & (everyone != i)]
        gain, penalty = clusters.apart(i, others)
        distance[np.minimum(i, others), np.maximum(i, others)] = gain - PENALTY * penalty
    return np.unique(label, return_inverse=True)[1]


def _covariance(rows: npt.NDArray[np.float32]) -> Floats:
    d = rows.shape[1]
    return np.cov(rows.T.astype(np.float64)).reshape(d, d) + 1e-3 * np.eye(d)
