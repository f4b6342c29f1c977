"""Detect where somebody speaks, with Silero's network, block by block.

The network takes windows of 32 ms and carries its state from one to the next. So the probabilities
do not depend on how a recording is split into blocks.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reflector_gpu.types import SAMPLE_RATE, Samples

if TYPE_CHECKING:
    import onnxruntime

WINDOW = 512
"""Samples in one detector window."""

WINDOW_SECONDS = WINDOW / SAMPLE_RATE

_CONTEXT = 64  # samples of the previous window that the network takes in front of each
_STATE = (1, 1, 128)
_BATCH = 128  # windows in one call; more are not faster

_LOWEST_HERTZ = 100.0
"""Frequencies below it are filtered out: they are hum and rumble, and hardly any voice.

Loud hum would set the gain, and the network finds less speech over it.
"""

# Quiet recordings (a far microphone) are brought up before the network sees them.
_TARGET_PEAK = 0.5
_MAX_GAIN = 20.0
_PEAK_DECAY = 0.5 ** (WINDOW_SECONDS / 4.0)  # a window; the remembered peak halves in 4 seconds
_SILENCE = 1e-6  # a peak to divide by where there is none


def _high_pass() -> npt.NDArray[np.complex64]:
    """The response of a second-order Butterworth filter to two windows, ``[WINDOW + 1]``.

    Its impulse response is much shorter than one window, as overlap-save needs.
    """
    s = 1j * np.fft.rfftfreq(2 * WINDOW, 1 / SAMPLE_RATE) / _LOWEST_HERTZ
    response: npt.NDArray[np.complex128] = s**2 / (s**2 + np.sqrt(2) * s + 1)
    return response.astype(np.complex64)


_HIGH_PASS = _high_pass()


@dataclass(frozen=True, slots=True)
class VadOptions:
    """``threshold`` in (0, 1); ``padding`` and ``silence`` in seconds.

    Speech begins when the probability reaches ``threshold`` and ends when it falls 0.15 below.
    ``padding`` is kept on either side; ``silence`` longer than this ends a chunk (None: the
    engine's own preference).
    """

    threshold: float = 0.5
    padding: float = 0.3
    silence: float | None = None


class Hysteresis:
    """Whether somebody speaks, by the detector's probabilities, which are given one by one.

    Speech begins where one reaches ``begins``, and ends where one falls below ``ends``.
    """

    def __init__(self, begins: float, ends: float) -> None:
        self._begins = begins
        self._ends = ends
        self._speaks = False

    def __call__(self, probability: float) -> bool:
        self._speaks = probability >= (self._ends if self._speaks else self._begins)
        return self._speaks


@functools.cache
def _session() -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    path = Path(__file__).with_name("silero_vad.onnx")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class VoiceActivity:
    """Finds the speech of one recording, window by window."""

    def __init__(self) -> None:
        self._session = _session()
        self._h = np.zeros(_STATE, np.float32)
        self._c = np.zeros(_STATE, np.float32)
        self._before = np.zeros(WINDOW, np.float32)  # as it was recorded
        self._context = np.zeros(_CONTEXT, np.float32)
        self._peak = 0.0

    def probabilities(self, samples: Samples) -> Samples:
        """The probability of speech in each window of ``samples``, which follow the last call's.

        ``float32[n * WINDOW]`` to ``float32[n]``, in [0, 1].
        """
        windows = self._without_hum(samples.reshape(-1, WINDOW))
        context = np.concatenate([self._context[None], windows[:-1, -_CONTEXT:]])
        self._context = windows[-1, -_CONTEXT:].copy()
        inputs = np.concatenate([context, windows], axis=1) * self._gains(windows)
        found: list[Samples] = []
        for first in range(0, len(inputs), _BATCH):
            batch = {"input": inputs[first : first + _BATCH], "h": self._h, "c": self._c}
            output, self._h, self._c = self._session.run(None, batch)
            found.append(np.reshape(output, -1))
        return np.concatenate(found)

    def _without_hum(self, windows: Samples) -> Samples:
        """High-pass ``windows``, ``[n, WINDOW]``, by overlap-save: each with the one before it."""
        before = np.concatenate([self._before[None], windows[:-1]])
        self._before = windows[-1].copy()
        spectra = np.fft.rfft(np.concatenate([before, windows], axis=1))
        return np.fft.irfft(spectra * _HIGH_PASS)[:, WINDOW:].astype(np.float32)

    def _gains(self, windows: Samples) -> Samples:
        """The gain of each of ``windows``, ``[n, 1]``, from the loudest recent peak."""
        gains: list[float] = []
        for peak in np.abs(windows).max(axis=1).tolist():
            self._peak = max(self._peak * _PEAK_DECAY, peak)
            gains.append(min(_MAX_GAIN, max(1.0, _TARGET_PEAK / max(self._peak, _SILENCE))))
        return np.array(gains, np.float32)[:, None]
