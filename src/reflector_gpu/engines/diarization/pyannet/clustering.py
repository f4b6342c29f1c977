"""Finds which voices are one person's, by agglomerative clustering that allows for noise.

Two voices are alike by their cosine. How alike two recordings of one person are depends on noise
and on the microphone, so the mean cosine between two clusters is divided by how alike the voices
inside each of them are (Spearman's correction for attenuation). The pair that is most alike is
merged, until no pair is alike enough.

Sums of vectors are all that this takes, so hours need little memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import DiarizeOptions

Vectors = npt.NDArray[np.float32]
"""``float32[n, dimensions]``, of length 1."""

Labels = npt.NDArray[np.intp]

ALIKE = 0.7
"""The least corrected similarity of one person's clusters; 1 is the same voice."""

_WITHIN = 0.65  # the cosine of two voices of one person, before any are known
_BELIEF = 40.0  # the pairs that this is worth
_LEAST_WITHIN = 0.05
_SPLIT = 0.75  # clusters that are more alike stay together, whatever the number of people
_HEARD = 2
"""Voices that make a person of what was alike enough to be part of another one. Windows overlap, so
that somebody who speaks for a second is heard in several."""

_SHARE, _VOICES = 0.05, 8  # of all voices, or so many, make a person
_TOGETHER, _KEPT = 600, 150  # voices that are compared in pairs, and what is left of them


@dataclass(frozen=True, slots=True)
class _Clusters:
    """The sums of clusters' vectors ``[n, dimensions]``, and how many voices each has."""

    sums: npt.NDArray[np.floating[Any]]
    sizes: npt.NDArray[np.float64]

    def merged(self, owners: Labels) -> _Clusters:
        names, labels = np.unique(owners, return_inverse=True)
        sums = np.zeros((len(names), self.sums.shape[1]))
        np.add.at(sums, labels, self.sums)
        return _Clusters(sums, np.bincount(labels, self.sizes).astype(np.float64))

    def best(self, count: int) -> _Clusters:
        """The ``count`` largest."""
        kept = np.sort(np.argsort(-self.sizes, kind="stable")[:count])
        return _Clusters(self.sums[kept], self.sizes[kept])


@dataclass(frozen=True, slots=True)
class _Merge:
    one: int
    other: int
    alike: float


def people(
    voices: npt.NDArray[np.floating[Any]],
    options: DiarizeOptions,
    sizes: npt.NDArray[np.float64] | None = None,
) -> Vectors:
    """The vector of each person, ``float32[people, dimensions]``, for at least one of ``voices``.

    There are as many as ``options`` allow, unless fewer voices than that differ. With ``sizes``,
    each of ``voices`` is the sum of so many that are known to be one person's.
    """
    clusters = _reduced(_Clusters(voices, np.ones(len(voices)) if sizes is None else sizes))
    merges = _merges(clusters, 1)
    natural = next((i for i, one in enumerate(merges) if one.alike < ALIKE), len(merges))
    least = min(_VOICES, max(1.0, _SHARE * clusters.sizes.sum()))
    while natural < len(merges):  # on, if there are too many
        found = clusters.merged(_owners(len(clusters.sizes), merges[:natural]))
        if options.most is None or (found.sizes >= least).sum() <= options.most:
            break
        natural += 1
    found = clusters.merged(_owners(len(clusters.sizes), merges[:natural]))
    large = int((found.sizes >= least).sum())
    wanted = max(options.fewest, large, 1)
    apart = len(found.sizes)
    while len(found.sizes) < wanted and natural and merges[natural - 1].alike < _SPLIT:
        natural -= 1
        found = clusters.merged(_owners(len(clusters.sizes), merges[:natural]))
    sound = max(apart, int((found.sizes >= _HEARD).sum()))
    return _unit(found.best(min(wanted, sound)).sums)


def assigned(alike: npt.NDArray[np.floating[Any]]) -> Labels:
    """The person of each voice, by how ``alike`` they are: ``[voices, people]``.

    The voices are the speakers of one window, and so they are different people if there are enough.
    The closest pair is assigned first.
    """
    left = alike.copy()
    found: Labels = alike.argmax(axis=1)
    for _ in range(min(alike.shape)):
        voice, person = divmod(int(left.argmax()), left.shape[1])
        found[voice] = person
        left[voice] = left[:, person] = -np.inf
    return found


def _reduced(clusters: _Clusters) -> _Clusters:
    """At most `_TOGETHER` clusters: parts of a long recording are clustered by themselves first."""
    least = ALIKE
    while (count := len(clusters.sizes)) > _TOGETHER:
        parts = []
        for part in np.array_split(np.arange(count), -(-count // _TOGETHER)):
            own = _Clusters(clusters.sums[part], clusters.sizes[part])
            merges = [one for one in _merges(own, _KEPT) if one.alike >= least]
            parts.append(own.merged(_owners(len(part), merges)))
        clusters = _Clusters(
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.sizes for part in parts]),
        )
        if len(clusters.sizes) > 0.9 * count:
            least = -np.inf  # hardly any are alike, but memory is limited
    return clusters


def _merges(clusters: _Clusters, left: int) -> list[_Merge]:
    """The pairs to merge, the most alike first, until ``left`` are left.

    The second of a pair becomes part of the first.
    """
    sums, sizes = clusters.sums.astype(np.float64), clusters.sizes.copy()
    within = _within(sums, sizes)
    alike = _alike(sums, sizes, within, sums, sizes, within)
    np.fill_diagonal(alike, -np.inf)
    gone = np.zeros(len(sizes), bool)
    found: list[_Merge] = []
    for _ in range(len(sizes) - left):
        one, other = divmod(int(alike.argmax()), len(sizes))
        found.append(_Merge(one, other, float(alike[one, other])))
        sums[one] += sums[other]
        sizes[one] += sizes[other]
        gone[other] = True
        within[one] = _within(sums[one : one + 1], sizes[one : one + 1])[0]
        own = slice(one, one + 1)
        row = _alike(sums[own], sizes[own], within[own], sums, sizes, within)[0]
        row[gone] = row[one] = -np.inf
        alike[one], alike[:, one] = row, row
        alike[other], alike[:, other] = -np.inf, -np.inf
    return found


def _within(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The mean cosine of two voices of a cluster, together with what is believed of any."""
    pairs = sizes * (sizes - 1)
    total = np.square(sums).sum(axis=1) - sizes
    found: npt.NDArray[np.float64] = (total + _BELIEF * _WITHIN) / (pairs + _BELIEF)
    return np.maximum(found, _LEAST_WITHIN)


def _alike(
    one: npt.NDArray[np.float64],
    one_sizes: npt.NDArray[np.float64],
    one_within: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64],
    other_sizes: npt.NDArray[np.float64],
    other_within: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    mean = (one @ other.T) / (one_sizes[:, None] * other_sizes)
    found: npt.NDArray[np.float64] = mean / np.sqrt(one_within[:, None] * other_within)
    return found


def _owners(count: int, merges: list[_Merge]) -> Labels:
    owner = np.arange(count)
    for one in merges:
        owner[owner == one.other] = one.one
    return owner


def _unit(vectors: npt.NDArray[np.floating[Any]]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found
