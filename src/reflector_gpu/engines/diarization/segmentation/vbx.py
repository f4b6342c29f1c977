"""VBx: who the voices of a recording belong to, by a mixture of speakers in the space of a PLDA.

Agglomerative clustering finds too many speakers on purpose. Variational Bayes then fits a mixture
of them to all voices, in which those that explain nothing lose their share. As `VBxClustering` of
pyannote.audio 4 and `VBx` of https://github.com/BUTSpeechFIT/VBx (without its Markov chain) have
it; equations are numbered as in Landini, Profant, Diez, Burget: Bayesian HMM clustering of x-vector
sequences (VBx) in speaker diarization.

Voices are taken in blocks, so that hours of them need little more memory than the voices do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.segmentation.kmeans import parted
from reflector_gpu.engines.diarization.segmentation.linkage import Labels, Vectors, clusters, unit
from reflector_gpu.engines.diarization.segmentation.plda import Plda
from reflector_gpu.types import DiarizeOptions

_ROUNDS = 20
_WORTHWHILE = 1e-4  # that the evidence must gain in a round
_CERTAIN = 7.0  # how sure a voice's first speaker is: the logarithm of its odds to each other one
_LEAST_SHARE = 1e-7  # of all voices, below which there is no such speaker
_SMALLEST = 1e-8
_BLOCK = 4096  # voices

_Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tuning:
    """The parameters of a pipeline; the defaults are those of pyannote's community-1.

    Clusters that are closer than ``threshold`` start as one speaker. ``evidence`` is what a voice
    counts (Fa), and with more of ``restraint`` (Fb) there are fewer speakers.
    """

    threshold: float = 0.6
    evidence: float = 0.07
    restraint: float = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """``float16[n, dimensions]`` of length 1, and the length that each had: ``float32[n]``."""

    units: npt.NDArray[np.float16]
    lengths: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.units)

    def blocks(self) -> Iterator[tuple[slice, Vectors]]:
        """All of them at their own length."""
        for first in range(0, len(self), _BLOCK):
            part = slice(first, first + _BLOCK)
            yield part, self.units[part].astype(np.float32) * self.lengths[part, None]


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Their ``centroids``, of length 1. With ``apart``, the speakers of a window are different."""

    centroids: Vectors
    apart: bool


def people(voices: Voices, plda: Plda, tuning: Tuning, options: DiarizeOptions) -> People:
    """Who speaks, by the voices that show well.

    There are as many as ``options`` allow, unless there are fewer voices. As in pyannote, another
    number than the mixture finds is made by k-means.
    """
    if len(voices) < 2:
        return People(np.ones((1, voices.units.shape[1]), np.float32), apart=False)
    labels = clusters(voices.units, tuning.threshold).labels
    centroids = _fitted(voices, labels, plda, tuning)
    most = min(options.most or len(voices), len(voices))
    wanted = min(max(len(centroids), min(options.fewest, most)), most)
    if wanted != len(centroids):
        return People(_means(voices, parted(voices.units, wanted)), apart=False)
    return People(unit(centroids), apart=True)


def _means(voices: Voices, labels: Labels) -> Vectors:
    sums = np.zeros((int(labels.max()) + 1, voices.units.shape[1]))
    for part, block in voices.blocks():
        np.add.at(sums, labels[part], block)
    return unit(sums)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What a round must know of all voices: for each speaker, how many voices, and their sum."""

    counts: _Matrix
    sums: _Matrix
    evidence: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Mixture:
    """The speakers in the space: ``means`` and ``variances`` of what is believed of them
    ``[speakers, dimensions]``, and the ``shares`` of voices that they have."""

    means: _Matrix
    variances: _Matrix
    shares: _Matrix


def _fitted(voices: Voices, labels: Labels, plda: Plda, tuning: Tuning) -> _Matrix:
    """The centroid of each speaker of the mixture that begins with ``labels``."""
    points = np.concatenate([plda(block) for _, block in voices.blocks()]).astype(np.float32)
    speakers = int(labels.max()) + 1
    sums = _first(points, labels, speakers, plda)
    shares = np.full(speakers, 1 / speakers)
    before = -np.inf
    for _ in range(_ROUNDS):
        mixture = _believed(sums, shares, plda.between, tuning)
        sums = _explained(points, mixture, plda.between, tuning)
        shares = sums.counts / sums.counts.sum()
        evidence = sums.evidence + tuning.restraint / 2 * float(
            np.sum(np.log(mixture.variances) - mixture.variances - mixture.means**2 + 1)
        )  # (25)
        if evidence - before < _WORTHWHILE:
            break
        before = evidence
    kept = shares > _LEAST_SHARE
    found = np.zeros((int(kept.sum()), voices.units.shape[1]))
    for part, block in voices.blocks():
        found += _owned(points[part], mixture, plda.between, tuning)[0][:, kept].T @ block
    centroids: _Matrix = found / sums.counts[kept, None]
    return centroids


def _first(points: Vectors, labels: Labels, speakers: int, plda: Plda) -> _Sums:
    """As if each voice were most likely its label's."""
    certain, other = np.exp(_CERTAIN), 1.0
    total = certain + (speakers - 1) * other
    own = np.zeros((speakers, points.shape[1]))
    np.add.at(own, labels, points)
    counts = np.bincount(labels, minlength=speakers)
    everything = own.sum(axis=0)
    return _Sums(
        (counts * (certain - other) + len(points) * other) / total,
        (own * (certain - other) + everything * other) / total * np.sqrt(plda.between),
    )


def _believed(sums: _Sums, shares: _Matrix, between: _Matrix, tuning: Tuning) -> _Mixture:
    ratio = tuning.evidence / tuning.restraint
    variances = 1 / (1 + ratio * sums.counts[:, None] * between)  # (17)
    return _Mixture(ratio * variances * sums.sums, variances, shares)  # (16)


def _explained(points: Vectors, mixture: _Mixture, between: _Matrix, tuning: Tuning) -> _Sums:
    """How the speakers of ``mixture`` share all voices."""
    counts = np.zeros(len(mixture.shares))
    sums = np.zeros_like(mixture.means)
    evidence = 0.0
    for first in range(0, len(points), _BLOCK):
        block = points[first : first + _BLOCK]
        owned, likely = _owned(block, mixture, between, tuning)
        counts += owned.sum(axis=0)
        sums += owned.T @ (block * np.sqrt(between))
        evidence += float(likely.sum())
    return _Sums(counts, sums, evidence)


def _owned(
    points: npt.NDArray[np.floating[Any]], mixture: _Mixture, between: _Matrix, tuning: Tuning
) -> tuple[_Matrix, _Matrix]:
    """How much of each voice is each speaker's ``[n, speakers]``, and the log likelihood of it."""
    wide = points.astype(np.float64)
    constant = -0.5 * (np.square(wide).sum(axis=1) + wide.shape[1] * np.log(2 * np.pi))
    spread = 0.5 * (mixture.variances + mixture.means**2) @ between
    likely = (wide * np.sqrt(between)) @ mixture.means.T - spread + constant[:, None]  # (23)
    weighted = tuning.evidence * likely + np.log(mixture.shares + _SMALLEST)
    most = weighted.max(axis=1, keepdims=True)
    total = most + np.log(np.exp(weighted - most).sum(axis=1, keepdims=True))
    return np.exp(weighted - total), total[:, 0]
