"""Assigns speech to known voices again: a mixture of Gaussians for each, and the best path.

Every voice is a diagonal Gaussian mixture that is trained on its blocks. The Viterbi path through
the blocks, in which no turn is under a second and a half, assigns them again (Ajmera and Wooters
2003). Nothing is random: mixtures grow by splitting their heaviest component.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.bic.cepstra import CEPSTRA
from reflector_gpu.engines.diarization.bic.merging import Evidence, Labels
from reflector_gpu.engines.diarization.bic.store import BLOCK, FrameStore

Matrix = npt.NDArray[np.float32]

_ROUNDS = 2
_COMPONENTS = 8  # of a voice
_FRAMES_PER_COMPONENT = 60
_FEWEST_FRAMES = 36  # of a voice; one with fewer cannot be modelled and is dropped
_TRAINING_FRAMES = 8_000  # of a voice; more would change nothing
_SHORTEST_TURN = 15  # blocks
_PIECE = 6_000  # the most blocks of one path: ten minutes of speech
_HALF, _TURN = np.float32(0.5), np.float32(2 * np.pi)
_NEVER = np.float32(-1e9)  # the logarithm of the weight of a missing component


def resegment(store: FrameStore, evidence: Evidence, labels: Labels) -> Labels:
    """``labels`` after the blocks are assigned to their voices again; some voices may get none."""
    floor = (np.diagonal(evidence.cepstral) * 0.02 + 1e-4).astype(np.float32)
    # Pieces are equal, because a short last one might be too short for a turn.
    edges = np.linspace(0, store.blocks, 1 + -(-store.blocks // _PIECE)).astype(int)
    for _ in range(_ROUNDS):
        rows = _training_rows(store, evidence, labels)
        rows = [own for own in rows if len(own) >= _FEWEST_FRAMES]
        if len(rows) < 2:
            return np.zeros_like(labels)
        voices = _Voices.trained(rows, floor)
        pieces = [
            _best_path(_scores(store, evidence, voices, int(first), int(last)))
            for first, last in pairwise(edges)
        ]
        found = np.unique(np.concatenate(pieces), return_inverse=True)[1]
        if np.array_equal(found, labels):
            break
        labels = found
    return labels


def _training_rows(store: FrameStore, evidence: Evidence, labels: Labels) -> list[Matrix]:
    """The cepstra of each voice in frames that are loud enough, thinned if there are many."""
    step = 1 + np.bincount(labels) * BLOCK // _TRAINING_FRAMES
    rows: list[list[Matrix]] = [[] for _ in step]
    seen = np.zeros(len(step), np.intp)
    for blocks, batch in store.batches():
        telling = evidence.telling(batch)
        owner, cepstra = np.repeat(labels[blocks], BLOCK)[telling], batch[telling, :CEPSTRA]
        for k in np.unique(owner):
            own = cepstra[owner == k]
            rows[k].append(own[-seen[k] % step[k] :: step[k]].copy())
            seen[k] += len(own)
    return [np.concatenate(r) if r else np.zeros((0, CEPSTRA), np.float32) for r in rows]


def _scores(
    store: FrameStore, evidence: Evidence, voices: _Voices, first: int, last: int
) -> Matrix:
    """``float32[blocks, voices]``: log likelihoods of blocks, without their quiet frames."""
    parts = []
    for _, rows in store.batches(first, last):
        scores = voices.log_likelihood(rows[:, :CEPSTRA]) * evidence.telling(rows)[:, None]
        parts.append(scores.reshape(-1, BLOCK, scores.shape[1]).sum(axis=1))
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class _Mixture:
    """``weights`` [m], ``means`` [m, d], ``variances`` [m, d]."""

    weights: Matrix
    means: Matrix
    variances: Matrix

    @classmethod
    def trained(cls, rows: Matrix, size: int, floor: Matrix) -> _Mixture:
        model = cls(
            np.ones(1, np.float32),
            rows.mean(axis=0, keepdims=True),
            np.maximum(rows.var(axis=0, keepdims=True), floor),
        )
        squares = np.square(rows)
        for _ in range(size - 1):
            model = model.split()
            for _ in range(3):
                model = model.improved(rows, squares, floor)
        for _ in range(5):
            model = model.improved(rows, squares, floor)
        return model

    def split(self) -> _Mixture:
        k = int(self.weights.argmax())
        step = np.float32(0.3) * np.sqrt(self.variances[k])
        weights, means = np.append(self.weights, 0), np.vstack([self.means, self.means[k] + step])
        weights[k] = weights[-1] = self.weights[k] / 2
        means[k] -= step
        return _Mixture(weights, means, np.vstack([self.variances, self.variances[k]]))

    def improved(self, rows: Matrix, squares: Matrix, floor: Matrix) -> _Mixture:
        """One step of expectation and maximisation."""
        linear, quadratic, constant = self.coefficients()
        share = rows @ linear + squares @ quadratic + constant
        share = np.exp(share - share.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mass = share.sum(axis=0) + np.float32(1e-6)
        means = share.T @ rows / mass[:, None]
        variances = share.T @ squares / mass[:, None] - np.square(means)
        return _Mixture(mass / mass.sum(), means, np.maximum(variances, floor))

    def coefficients(self) -> tuple[Matrix, Matrix, Matrix]:
        """The log density as ``x @ [d, m] + x * x @ [d, m] + [m]``."""
        precision: Matrix = np.float32(1) / self.variances
        linear: Matrix = (self.means * precision).T
        quadratic: Matrix = (-_HALF * precision).T
        spread = np.log(_TURN * self.variances) + np.square(self.means) * precision
        constant: Matrix = np.log(self.weights) - _HALF * spread.sum(axis=1)
        return linear, quadratic, constant


@dataclass(frozen=True, slots=True)
class _Voices:
    """The mixtures of all voices in one matrix, so that one product scores all of them."""

    linear: Matrix
    quadratic: Matrix
    constant: Matrix

    @classmethod
    def trained(cls, rows: list[Matrix], floor: Matrix) -> _Voices:
        d = len(floor)
        linear = np.zeros((d, len(rows), _COMPONENTS), np.float32)
        quadratic = np.zeros((d, len(rows), _COMPONENTS), np.float32)
        constant = np.full((len(rows), _COMPONENTS), _NEVER)
        for k, own in enumerate(rows):
            size = max(1, min(_COMPONENTS, len(own) // _FRAMES_PER_COMPONENT))
            mixture = _Mixture.trained(own, size, floor)
            linear[:, k, :size], quadratic[:, k, :size], constant[k, :size] = mixture.coefficients()
        return cls(linear, quadratic, constant)

    def log_likelihood(self, rows: Matrix) -> Matrix:
        """``float32[n, d]`` to ``float32[n, voices]``."""
        d, voices, components = self.linear.shape
        scores = rows @ self.linear.reshape(d, -1) + np.square(rows) @ self.quadratic.reshape(d, -1)
        scores = scores.reshape(-1, voices, components) + self.constant
        best = scores.max(axis=2)
        found: Matrix = best + np.log(np.exp(scores - best[:, :, None]).sum(axis=2))
        return found


def _best_path(scores: Matrix) -> Labels:
    """The best labels for ``float32[blocks, voices]`` in which every turn is long enough."""
    blocks, voices = scores.shape
    if voices == 1 or blocks <= _SHORTEST_TURN:
        return np.full(blocks, scores.sum(axis=0).argmax())
    total = np.zeros((blocks + 1, voices))
    np.cumsum(scores, axis=0, out=total[1:])
    turn = total[_SHORTEST_TURN:] - total[:-_SHORTEST_TURN]  # of the shortest turn that ends there
    value = np.full((blocks + 1, voices), -1e18)
    value[0] = 0
    came_from = np.full((blocks + 1, voices), -1, np.int16)
    for t in range(_SHORTEST_TURN, blocks + 1):
        before = int(value[t - _SHORTEST_TURN].argmax())
        fresh = value[t - _SHORTEST_TURN, before] + turn[t - _SHORTEST_TURN]
        stay = value[t - 1] + scores[t - 1]
        came_from[t] = np.where(fresh > stay, before, -1)
        value[t] = np.maximum(fresh, stay)
    path = np.zeros(blocks, np.intp)
    t, k = blocks, int(value[-1].argmax())
    while t > 0:
        before = int(came_from[t, k])
        if before < 0:
            path[t - 1], t = k, t - 1
        else:
            path[t - _SHORTEST_TURN : t] = k
            t, k = t - _SHORTEST_TURN, before
    return path
