"""Random speaker embeddings, by which our clustering is compared with pyannote's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DIMENSIONS = 48


@dataclass(frozen=True)
class Case:
    """So many ``voices`` of so many ``people``, who vary by ``spread``. Clusters that are closer
    than ``threshold`` begin as one person."""

    seed: int
    people: int
    voices: int
    spread: float
    threshold: float


CASES = tuple(
    Case(10 * people + number, people, 30 * people, spread, threshold)
    for people in (1, 2, 3, 5)
    for number, (spread, threshold) in enumerate([(0.3, 0.6), (0.5, 0.6), (0.7, 0.9), (0.9, 0.9)])
)


def embeddings(case: Case) -> npt.NDArray[np.float32]:
    """``float32[voices, DIMENSIONS]``, of different lengths."""
    rng = np.random.default_rng(case.seed)
    centres = rng.standard_normal((case.people, DIMENSIONS))
    owners = rng.integers(0, case.people, case.voices)
    noise = case.spread * rng.standard_normal((case.voices, DIMENSIONS))
    lengths = rng.uniform(0.5, 3.0, (case.voices, 1))
    return np.asarray((centres[owners] + noise) * lengths, np.float32)
