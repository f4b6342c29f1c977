"""Smart Turn v3: a small network that hears from the voice whether a turn is complete.

It goes by melody and pace as much as by words, in 23 languages. Its encoder is that of Whisper
tiny, so it reads Whisper's features: 80 bands of log mel energies, 100 times a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.accelerators import onnx_failures
from reflector_gpu.engines.endpointing.base import EndpointerModel, EndpointerSpec
from reflector_gpu.engines.weights import Weights
from reflector_gpu.engines.weights.pins import PINS
from reflector_gpu.errors import EngineFailed, ModelNotInstalled, ReflectorError
from reflector_gpu.types import SAMPLE_RATE, Samples

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_REPOSITORY = "pipecat-ai/smart-turn-v3"
_FILE = "smart-turn-v3.2-cpu.onnx"

_SPEC = EndpointerSpec(quick_restart=True, window_seconds=8.0, max_batch=4)

MODEL = EndpointerModel(
    "smart-turn",
    "reflector_gpu.engines.endpointing.smart_turn:SmartTurn",
    _SPEC,
    "Smart Turn v3.2: hears whether somebody has finished, in 23 languages",
    "BSD-2-Clause",
    weights=Weights(_REPOSITORY, (_FILE,), (_FILE,), 9, pins=PINS[_REPOSITORY]),
)

_FFT, _HOP, _BANDS = 400, SAMPLE_RATE // 100, 80
_QUIETEST = 1e-10
_RANGE = 8.0  # powers of ten below the loudest that count


class SmartTurn:
    """``weights`` is the folder with the ONNX file."""

    def __init__(self, weights: str) -> None:
        self._file = Path(weights) / _FILE
        self._session: InferenceSession | None = None

    def load(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(self._file), options)
        except Exception as error:  # its errors share no class
            raise ModelNotInstalled(f"{_FILE} cannot be loaded: {error}") from error

    def endpoints(
        self, turns: Sequence[Samples], options: None
    ) -> Sequence[float | ReflectorError]:
        assert self._session
        batch = np.stack([features(samples) for samples in turns])
        try:
            (found,) = self._session.run(None, {"input_features": batch})
        except onnx_failures() as error:
            raise EngineFailed(f"Smart Turn failed on {len(turns)} turns: {error}") from error
        return [float(probability) for probability in np.reshape(found, -1)]

    def close(self) -> None:
        self._session = None


def features(samples: Samples) -> npt.NDArray[np.float32]:
    """``float32[80, 800]``: Whisper's features of the last eight seconds of ``samples``.

    What is shorter has silence in front.
    """
    heard = np.zeros(_SPEC.window, np.float64)
    last = samples[-_SPEC.window :]
    heard[_SPEC.window - len(last) :] = last
    heard = (heard - heard.mean()) / np.sqrt(heard.var() + 1e-7)
    padded = np.pad(heard, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:-1]
    window = np.hanning(_FFT + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    energies = np.log10(np.maximum(power @ _filters(), _QUIETEST))
    scaled = (np.maximum(energies, energies.max() - _RANGE) + 4) / 4
    return np.ascontiguousarray(scaled.T, np.float32)


@cache
def _filters() -> npt.NDArray[np.float64]:
    """``float64[_FFT / 2 + 1, _BANDS]``: triangles of one area, evenly spaced on Slaney's mel scale
    from 0 to 8000 Hz."""
    edges = _hertz(np.linspace(0, _mel(SAMPLE_RATE / 2), _BANDS + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)[:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    found: npt.NDArray[np.float64] = triangles * 2 / (high - low)
    return found


# Slaney's mel scale is linear up to 1000 Hz, which are 15 mel, and logarithmic from there.
_LINEAR = 1000 / 15  # hertz a mel
_STEP = np.log(6.4) / 27  # of the logarithm, a mel


def _mel(hertz: float) -> float:
    return 15 + float(np.log(hertz / 1000)) / float(_STEP)  # there is no need for less than 1000 Hz


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.where(
        mel < 15, mel * _LINEAR, 1000 * np.exp(_STEP * (mel - 15))
    )
    return found
