"""Probabilistic linear discriminant analysis: a space in which voices differ by who speaks.

It is read from the two files of a pyannote pipeline, which were trained with its speaker embedding.
The arithmetic is that of `vbx_setup` in pyannote.audio 4 (utils/vbx.py), which has it from
https://github.com/BUTSpeechFIT/VBx.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from reflector_gpu.errors import ModelNotInstalled

TRANSFORM, PLDA = "xvec_transform.npz", "plda.npz"

_MOST_DIMENSIONS = 128
"""Of the space; pyannote takes so many, those in which speakers differ most."""

_LARGEST = 4096  # dimensions of a file that is not damaged

_Matrix = npt.NDArray[np.float64]


class Plda:
    """The space of the files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ModelNotInstalled: a file is absent or damaged, or they do not fit each other.
        """
        self._centre, self._shift, self._lda = _arrays(folder / TRANSFORM, "mean1", "mean2", "lda")
        self._mean, transform, variances = _arrays(folder / PLDA, "mu", "tr", "psi")
        inputs, outputs = self._lda.shape if self._lda.ndim == 2 else (0, 0)
        shapes = (self._centre, (inputs,)), (self._shift, (outputs,)), (self._mean, (outputs,))
        others = (transform, (outputs, outputs)), (variances, (outputs,))
        if not inputs or any(array.shape != shape for array, shape in (*shapes, *others)):
            raise ModelNotInstalled(f"{TRANSFORM} and {PLDA} of this pipeline do not fit together.")
        try:
            self._transform, between = _diagonal(transform, variances)
        except np.linalg.LinAlgError as error:
            raise ModelNotInstalled(f"{PLDA} of this pipeline is damaged.") from error
        self._transform = self._transform[:, :_MOST_DIMENSIONS]
        self.between = between[:_MOST_DIMENSIONS]
        """How much speakers differ in each dimension; within a speaker the variance is 1."""

    @property
    def dimensions(self) -> int:
        """Of the vectors that it takes."""
        return len(self._centre)

    def __call__(self, voices: npt.NDArray[np.floating[Any]]) -> _Matrix:
        """``float64[n, dimensions]`` to ``float64[n, len(between)]``."""
        inputs, outputs = self._lda.shape
        near = np.sqrt(inputs) * _unit(voices - self._centre)
        whitened = np.sqrt(outputs) * _unit(near @ self._lda - self._shift)
        found: _Matrix = (whitened - self._mean) @ self._transform
        return found


def _diagonal(transform: _Matrix, variances: _Matrix) -> tuple[_Matrix, _Matrix]:
    """The transform that makes the variance within speakers 1 and that between them diagonal, one
    column for each dimension; and the variances between them, largest first.

    It solves ``between @ v = variance * within @ v``.
    """
    within = np.linalg.inv(transform.T @ transform)
    between = np.linalg.inv((transform.T / variances) @ transform)
    inverse = np.linalg.inv(np.linalg.cholesky(within))
    values, vectors = np.linalg.eigh(inverse @ between @ inverse.T)
    return (inverse.T @ vectors)[:, ::-1], np.maximum(values[::-1], 0.0)


def _unit(vectors: _Matrix) -> _Matrix:
    found: _Matrix = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found


def _arrays(file: Path, *names: str) -> list[_Matrix]:
    try:
        with np.load(file, allow_pickle=False) as saved:
            found = [np.asarray(saved[name], np.float64) for name in names]
    except FileNotFoundError as error:
        raise ModelNotInstalled(f"The folder of this pipeline has no plda/{file.name}.") from error
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ModelNotInstalled(f"plda/{file.name} of this pipeline is damaged.") from error
    if any(max(array.shape, default=0) > _LARGEST for array in found):
        raise ModelNotInstalled(f"plda/{file.name} of this pipeline is damaged: it is too large.")
    if not all(np.isfinite(array).all() for array in found):
        raise ModelNotInstalled(f"plda/{file.name} of this pipeline is damaged.")
    return found
