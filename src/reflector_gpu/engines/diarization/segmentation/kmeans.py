"""k-means: as many clusters as are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.segmentation.linkage import Labels

_TRIES = 3
_ROUNDS = 300
_SEED = 42


def parted(vectors: npt.NDArray[np.floating[Any]], count: int) -> Labels:
    """The cluster of each of ``vectors``; there are ``count``, unless fewer vectors differ.

    Of a few tries, the one with the tightest clusters counts. The result is deterministic.
    """
    points = vectors.astype(np.float32)
    random = np.random.default_rng(_SEED)
    tries = [_settled(points, _spread(points, count, random)) for _ in range(_TRIES)]
    labels, _ = min(tries, key=lambda one: one[1])
    return np.unique(labels, return_inverse=True)[1]


def _spread(
    points: npt.NDArray[np.float32], count: int, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Centres that are far from each other, by k-means++: the likelier, the further away."""
    centres = [points[random.integers(len(points))]]
    away = _squares(points, centres[0][None])[:, 0]
    while len(centres) < count and away.sum() > 0:
        centre = points[random.choice(len(points), p=away / away.sum())]
        centres.append(centre)
        away = np.minimum(away, _squares(points, centre[None])[:, 0])
    return np.stack(centres)


def _settled(
    points: npt.NDArray[np.float32], centres: npt.NDArray[np.float32]
) -> tuple[Labels, float]:
    """The clusters around ``centres`` when they move no more, and how far all points are off."""
    labels = np.full(len(points), -1)
    for _ in range(_ROUNDS):
        away = _squares(points, centres)
        now = away.argmin(axis=1)
        if np.array_equal(now, labels):
            break
        labels = now
        sums = np.zeros_like(centres, np.float64)
        np.add.at(sums, labels, points)
        sizes = np.bincount(labels, minlength=len(centres))
        used = sizes > 0
        centres = centres.copy()
        centres[used] = sums[used] / sizes[used, None]
    return labels, float(away[np.arange(len(points)), labels].sum())


def _squares(
    points: npt.NDArray[np.float32], centres: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """``float64[points, centres]``: the squared distances."""
    products = (points @ centres.T).astype(np.float64)
    lengths = np.square(points).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)
    found: npt.NDArray[np.float64] = np.maximum(0.0, lengths - 2 * products)
    return found
