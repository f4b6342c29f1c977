"""Repairs stereo whose sides cancel each other out, because one was wired with reversed polarity.

FFmpeg's mono is the mean of left and right, which would be silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_OPPOSED, _ALIKE = -0.5, 0.0
"""Correlations of left and right below which inverting the right side starts, and above which it
ends."""


class Phase:
    """Inverts the right side while it is the opposite of the left."""

    def __init__(self) -> None:
        self._turned = False

    def aligned(self, planes: NDArray[Any]) -> NDArray[Any]:
        """``planes`` of stereo, corrected: ``[2, n]``, or ``[1, 2 n]`` with alternating sides."""
        left, right = planes if len(planes) == 2 else planes.reshape(-1, 2).T
        together = _correlation(left, right)
        self._turned = together < (_ALIKE if self._turned else _OPPOSED)
        if not self._turned:
            return planes
        turned = planes.copy()
        side = turned[1] if len(planes) == 2 else turned.reshape(-1, 2)[:, 1]
        if np.issubdtype(side.dtype, np.integer):
            np.maximum(
                side, -np.iinfo(side.dtype).max, out=side
            )  # the lowest integer has no opposite
        np.negative(side, out=side)
        return turned


def _correlation(left: NDArray[Any], right: NDArray[Any]) -> float:
    """The correlation of two signals, from -1 to 1; 0 if either is silent."""
    a, b = np.asarray(left, np.float32), np.asarray(right, np.float32)
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else 0.0
