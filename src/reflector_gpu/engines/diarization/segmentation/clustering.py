"""Clusters voices by person: agglomerative clustering with centroid linkage.

As in pyannote's speaker-diarization-3.1 (`AgglomerativeClustering`, method `centroid`), the closest
two clusters are merged while they are closer than `THRESHOLD`. A cluster of very few voices joins
the closest large one. If the number of speakers is known, merging stops there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.segmentation.linkage import (
    Labels,
    Vectors,
    labelled,
    merges,
    reduced,
    summed,
    unit,
)
from reflector_gpu.types import DiarizeOptions

THRESHOLD = 0.7045654963945799
"""Centroids that are further apart are two people's. pyannote/speaker-diarization-3.1 tuned this
for WeSpeaker's ResNet34."""

_LEAST_SHARE = 0.1  # of all voices makes a speaker in a short recording


def people(
    voices: npt.NDArray[np.floating[Any]], fewest_voices: int, options: DiarizeOptions
) -> Vectors:
    """The centroids of the people, at least one: ``float32[people, dimensions]``.

    ``fewest_voices`` make a speaker in a long recording. There are as many people as ``options``
    allow, unless there are fewer voices.
    """
    clusters = reduced(voices, THRESHOLD)
    pairs, distances = merges(clusters.sums, clusters.sizes, 1)
    least = min(fewest_voices, max(1, round(_LEAST_SHARE * len(voices))))
    beyond = np.flatnonzero(distances > THRESHOLD)
    natural = int(beyond[0]) if len(beyond) else len(pairs)
    labels, least = _stopped(clusters.sizes, pairs, natural, least, options)
    large = np.bincount(labels, clusters.sizes) >= least
    return _absorbed(summed(clusters.sums, labels), large)


def _stopped(
    sizes: npt.NDArray[np.float64],
    pairs: list[tuple[int, int]],
    natural: int,
    least: int,
    options: DiarizeOptions,
) -> tuple[Labels, int]:
    """The clusters after ``natural`` merges, and the least size of a large one.

    If that leaves more or fewer large clusters than are allowed, the nearest number of merges that
    leaves an allowed one is taken.
    """
    for smallest in (least, 1):
        large = _large(sizes, pairs, smallest)
        allowed = (large >= options.fewest) & (large <= (options.most or len(sizes)))
        if large[natural] == 0 and smallest > 1:
            continue  # many people say little: count each
        if allowed.any():
            stops = np.flatnonzero(allowed)
            stop = int(stops[np.abs(stops - natural).argmin()])
            return labelled(len(sizes), pairs[:stop]), smallest
    return np.arange(len(sizes)), 1  # there must be more people than there are voices


def _large(
    sizes: npt.NDArray[np.float64], pairs: list[tuple[int, int]], smallest: int
) -> npt.NDArray[np.intp]:
    """How many clusters of at least ``smallest`` there are after 0, 1, ... merges."""
    sizes = sizes.copy()
    counts = [int((sizes >= smallest).sum())]
    for one, other in pairs:
        before = int(sizes[one] >= smallest) + int(sizes[other] >= smallest)
        sizes[one] += sizes[other]
        counts.append(counts[-1] - before + int(sizes[one] >= smallest))
    return np.array(counts)


def _absorbed(sums: npt.NDArray[np.float64], large: npt.NDArray[np.bool_]) -> Vectors:
    """The large clusters, each with the small ones that are closest to it."""
    centroids, kept = unit(sums[large]), sums[large]
    for small in sums[~large]:
        kept[int((centroids @ small).argmax())] += small
    return unit(kept)


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
