"""Agglomerative clustering with centroid linkage, of any number of vectors in bounded memory.

The closest two clusters are merged again and again; their distance is that of their means. A
recording of hours has too many voices to compare each with every other, so parts of it are
clustered by themselves first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.float32]
"""``float32[n, dimensions]``, of length 1."""

Labels: TypeAlias = npt.NDArray[np.intp]
"""The number of a cluster, from 0, for each voice."""

_TOGETHER = 1500  # vectors that are compared in pairs: 18 MB
_KEPT = 300  # clusters that are left of so many, if vectors are close, before others are added
_WORTHWHILE = 0.9  # if a larger share is left, distant vectors are merged as well


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """The sum of the vectors of each cluster and their number; and the cluster of each vector."""

    sums: npt.NDArray[np.floating[Any]]
    sizes: npt.NDArray[np.float64]
    labels: Labels

    def joined(self, labels: Labels) -> Clusters:
        """Those that have the same one of ``labels`` become one."""
        return Clusters(
            summed(self.sums, labels),
            np.bincount(labels, self.sizes).astype(np.float64),
            labels[self.labels],
        )


def clusters(vectors: npt.NDArray[np.floating[Any]], closer: float) -> Clusters:
    """Merged while the closest two are ``closer`` than that."""
    found = reduced(vectors, closer)
    pairs, distances = merges(found.sums, found.sizes, 1)
    return found.joined(labelled(len(found.sums), pairs[: _before(distances, closer)]))


def reduced(vectors: npt.NDArray[np.floating[Any]], closer: float) -> Clusters:
    """At most `_TOGETHER` clusters; where it can, of vectors that are ``closer`` than that."""
    count = len(vectors)
    found = Clusters(vectors, np.ones(count), np.arange(count))
    while (count := len(found.sums)) > _TOGETHER:
        labels = np.empty(count, np.intp)
        used = 0
        for part in np.array_split(np.arange(count), -(-count // _TOGETHER)):
            pairs, distances = merges(found.sums[part], found.sizes[part], _KEPT)
            labels[part] = used + labelled(len(part), pairs[: _before(distances, closer)])
            used = int(labels[part].max()) + 1
        found = found.joined(labels)
        if used > _WORTHWHILE * count:
            closer = np.inf  # hardly any are alike, but memory is limited
    return found


def merges(
    sums: npt.NDArray[np.floating[Any]], sizes: npt.NDArray[np.float64], left: int
) -> tuple[list[tuple[int, int]], npt.NDArray[np.float64]]:
    """The pairs to merge, the closest first, until ``left`` are left; and the distance of each.

    The second of a pair becomes part of the first. How far the two are from all others tells how
    far their mean is (Lance and Williams).
    """
    sizes = sizes.copy()
    means = sums.astype(np.float64) / sizes[:, None]
    lengths = np.square(means).sum(axis=1)
    square = lengths[:, None] + lengths - 2 * means @ means.T
    np.fill_diagonal(square, np.inf)
    nearest = square.argmin(axis=1)
    least = square[np.arange(len(sizes)), nearest]
    pairs, squares = [], []
    for _ in range(len(sizes) - left):
        one = int(least.argmin())
        one, other = sorted((one, int(nearest[one])))
        apart = float(square[one, other])
        pairs.append((one, other))
        squares.append(apart)
        total = sizes[one] + sizes[other]
        mine, yours = sizes[one] / total, sizes[other] / total
        row = mine * square[one] + yours * square[other] - mine * yours * apart
        sizes[one] = total
        square[one], square[:, one] = row, row
        square[other], square[:, other] = np.inf, np.inf
        closer = row < least
        nearest[closer], least[closer] = one, row[closer]
        # Those whose nearest has moved, or is no more, look for another one.
        lost = np.flatnonzero(((nearest == one) & ~closer) | (nearest == other))
        lost = np.append(lost, one)
        nearest[lost] = square[lost].argmin(axis=1)
        least[lost] = square[lost, nearest[lost]]
        least[other] = np.inf
    return pairs, np.sqrt(np.maximum(squares, 0.0))


def labelled(count: int, pairs: list[tuple[int, int]]) -> Labels:
    """The clusters of ``count`` vectors after ``pairs`` were merged, numbered from 0."""
    owner = np.arange(count)
    for one, other in pairs:
        owner[owner == other] = one
    return np.unique(owner, return_inverse=True)[1]


def summed(sums: npt.NDArray[np.floating[Any]], labels: Labels) -> npt.NDArray[np.float64]:
    """The sum of the rows of each label."""
    found = np.zeros((int(labels.max()) + 1, sums.shape[1]))
    np.add.at(found, labels, sums)
    return found


def unit(vectors: npt.NDArray[np.floating[Any]]) -> Vectors:
    """The same, of length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


def _before(distances: npt.NDArray[np.float64], closer: float) -> int:
    """How many merges come before the first one of clusters that are not ``closer``."""
    beyond = np.flatnonzero(distances > closer)
    return int(beyond[0]) if len(beyond) else len(distances)
