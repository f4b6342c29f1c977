"""Clusters voices by person: agglomerative clustering with centroid linkage.

As in pyannote's speaker-diarization-3.1 (`AgglomerativeClustering`, method `centroid`), the closest
two clusters are merged while they are closer than `THRESHOLD`. A cluster of very few voices joins
the closest large one. If the number of speakers is known, merging stops there.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import DiarizeOptions

Vectors: TypeAlias = npt.NDArray[np.float32]
"""``float32[n, dimensions]``, of length 1."""

Labels: TypeAlias = npt.NDArray[np.intp]
"""The number of a cluster, from 0, for each voice."""

THRESHOLD = 0.7045654963945799
"""Centroids that are further apart are two people's. pyannote/speaker-diarization-3.1 tuned this
for WeSpeaker's ResNet34."""

_LEAST_SHARE = 0.1  # of all voices makes a speaker in a short recording
_TOGETHER = 600  # voices that are compared in pairs
_KEPT = 150  # clusters that are left of so many, if voices are close, before others are added
_WORTHWHILE = 0.9  # if a larger share is left, distant voices are merged as well


def people(voices: Vectors, fewest_voices: int, options: DiarizeOptions) -> Vectors:
    """The centroids of the people, at least one: ``float32[people, dimensions]``.

    ``fewest_voices`` make a speaker in a long recording. There are as many people as ``options``
    allow, unless there are fewer voices.
    """
    sums, sizes = _reduced(voices.astype(np.float64), np.ones(len(voices)))
    merges, distances = _merges(sums, sizes, 1)
    least = min(fewest_voices, max(1, round(_LEAST_SHARE * len(voices))))
    beyond = np.flatnonzero(distances > THRESHOLD)
    natural = int(beyond[0]) if len(beyond) else len(merges)
    labels, least = _stopped(sizes, merges, natural, least, options)
    large = np.bincount(labels, sizes) >= least
    return _absorbed(_summed(sums, labels), large)


def _stopped(
    sizes: npt.NDArray[np.float64],
    merges: list[tuple[int, int]],
    natural: int,
    least: int,
    options: DiarizeOptions,
) -> tuple[Labels, int]:
    """The clusters after ``natural`` merges, and the least size of a large one.

    If that leaves more or fewer large clusters than are allowed, the nearest number of merges that
    leaves an allowed one is taken.
    """
    for smallest in (least, 1):
        large = _large(sizes, merges, smallest)
        allowed = (large >= options.fewest) & (large <= (options.most or len(sizes)))
        if large[natural] == 0 and smallest > 1:
            continue  # many people say little: count each
        if allowed.any():
            stops = np.flatnonzero(allowed)
            stop = int(stops[np.abs(stops - natural).argmin()])
            return _labels(len(sizes), merges[:stop]), smallest
    return np.arange(len(sizes)), 1  # there must be more people than there are voices


def _large(
    sizes: npt.NDArray[np.float64], merges: list[tuple[int, int]], smallest: int
) -> npt.NDArray[np.intp]:
    """How many clusters of at least ``smallest`` there are after 0, 1, ... merges."""
    sizes = sizes.copy()
    counts = [int((sizes >= smallest).sum())]
    for one, other in merges:
        before = int(sizes[one] >= smallest) + int(sizes[other] >= smallest)
        sizes[one] += sizes[other]
        counts.append(counts[-1] - before + int(sizes[one] >= smallest))
    return np.array(counts)


def _absorbed(sums: npt.NDArray[np.float64], large: npt.NDArray[np.bool_]) -> Vectors:
    """The large clusters, each with the small ones that are closest to it."""
    centroids, kept = _unit(sums[large]), sums[large]
    for small in sums[~large]:
        kept[int((centroids @ small).argmax())] += small
    return _unit(kept)


def _reduced(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """At most `_TOGETHER` clusters. Parts of a long recording are clustered by themselves first, so
    that time and memory do not grow with the square of its length."""
    closer = THRESHOLD
    while len(sums) > _TOGETHER:
        parts = np.array_split(np.arange(len(sums)), -(-len(sums) // _TOGETHER))
        found, counts = [], []
        for part in parts:
            merges, distances = _merges(sums[part], sizes[part], _KEPT)
            beyond = np.flatnonzero(distances > closer)
            labels = _labels(len(part), merges[: beyond[0]] if len(beyond) else merges)
            counts.append(np.bincount(labels, sizes[part]))
            found.append(_summed(sums[part], labels))
        if sum(map(len, counts)) > _WORTHWHILE * len(sums):
            closer = np.inf  # hardly any are alike, but memory is limited
        sums, sizes = np.concatenate(found), np.concatenate(counts)
    return sums, sizes


def _merges(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], left: int
) -> tuple[list[tuple[int, int]], npt.NDArray[np.float64]]:
    """The pairs to merge, the closest first, until ``left`` are left; and the distance of each.

    The second of a pair becomes part of the first.
    """
    sums, sizes = sums.copy(), sizes.copy()
    n = len(sums)
    centroids = sums / sizes[:, None]
    squares = np.square(centroids).sum(axis=1)
    distance = squares[:, None] + squares - 2 * centroids @ centroids.T
    distance[np.tril_indices(n)] = np.inf  # each pair once
    pairs, distances = [], []
    for _ in range(n - left):
        one, other = divmod(int(distance.argmin()), n)
        pairs.append((one, other))
        distances.append(max(0.0, distance[one, other]))
        sums[one] += sums[other]
        sizes[one] += sizes[other]
        centroids[one] = sums[one] / sizes[one]
        squares[one] = np.square(centroids[one]).sum()
        apart = squares + squares[one] - 2 * centroids @ centroids[one]
        distance[one, one + 1 :] = np.where(
            np.isinf(distance[one, one + 1 :]), np.inf, apart[one + 1 :]
        )
        distance[:one, one] = np.where(np.isinf(distance[:one, one]), np.inf, apart[:one])
        distance[other], distance[:, other] = np.inf, np.inf
    return pairs, np.sqrt(np.array(distances))


def _summed(sums: npt.NDArray[np.float64], labels: Labels) -> npt.NDArray[np.float64]:
    found = np.zeros((int(labels.max()) + 1, sums.shape[1]))
    np.add.at(found, labels, sums)
    return found


def _labels(count: int, merges: list[tuple[int, int]]) -> Labels:
    owner = np.arange(count)
    for one, other in merges:
        owner[owner == other] = one
    return np.unique(owner, return_inverse=True)[1]


def _unit(vectors: npt.NDArray[np.float64]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


def assigned(voices: Vectors, centroids: Vectors) -> Labels:
    """The person of each of ``voices``, which are the speakers of one window.

    They are different people if there are enough. The closest pair is assigned first.
    """
    close = voices @ centroids.T
    found = np.full(len(voices), -1)
    for _ in range(min(close.shape)):
        voice, person = divmod(int(close.argmax()), close.shape[1])
        found[voice] = person
        close[voice] = close[:, person] = -np.inf
    rest = found < 0
    found[rest] = (voices[rest] @ centroids.T).argmax(axis=1)
    return found
