"""Stereo whose sides cancel each other out, as they do where one of them was wired the wrong way.

FFmpeg's mono is the mean of left and right, of which nothing is left then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_OPPOSED, _ALIKE = -0.5, 0.0
"""Correlations of left and right from which on the right side is turned over, and no longer."""


class Phase:
    """Turns the right side over while it is the opposite of the left."""

    def __init__(self) -> None:
        self._turned = False

    def aligned(self, planes: NDArray[Any]) -> NDArray[Any]:
        """``planes`` of stereo, ``[2, n]`` or ``[1, 2 n]`` with left and right in turns."""
        left, right = planes if len(planes) == 2 else planes.reshape(-1, 2).T
        together = _correlation(left, right)
        self._turned = together < (_ALIKE if self._turned else _OPPOSED)
        if not self._turned:
            return planes
        turned = planes.copy()
        side = turned[1] if len(planes) == 2 else turned.reshape(-1, 2)[:, 1]
        if np.issubdtype(side.dtype, np.integer):
            np.maximum(side, -np.iinfo(side.dtype).max, out=side)  # the lowest has no opposite
        np.negative(side, out=side)
        return turned


def _correlation(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Of two signals, -1 to 1; 0 where either is silent."""
    a, b = left.astype(np.float32), right.astype(np.float32)
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else 0.0
