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
from numpy.typing import NDArray

from reflector_gpu.audio.high_pass import HighPass
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
_DECAYED = _PEAK_DECAY ** np.arange(_BATCH + 1)


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


_HYSTERESIS = 0.15  # speech ends where the probability falls so far below the threshold


class Hysteresis:
    """Whether somebody speaks, by the detector's probabilities, which are given one by one.

    Speech begins where one reaches ``begins``, and ends where one falls below ``ends``.
    """

    def __init__(self, begins: float, ends: float) -> None:
        self._begins = begins
        self._ends = ends
        self._speaks = False

    @classmethod
    def around(cls, threshold: float) -> Hysteresis:
        """One by which speech begins at ``threshold``, and ends a little below it."""
        return cls(threshold, min(threshold, max(threshold - _HYSTERESIS, 0.01)))

    def __call__(self, probability: float) -> bool:
        self._speaks = probability >= (self._ends if self._speaks else self._begins)
        return self._speaks

    def each(self, probabilities: Samples) -> NDArray[np.bool_]:
        """The same for ``probabilities``, ``float32[n]``, which follow one another."""
        begins = probabilities >= self._begins
        decided = begins | ~(probabilities >= self._ends)
        # What is in between is as the last one that was decided, or as it was before.
        last = np.maximum.accumulate(np.where(decided, np.arange(len(begins)), -1))
        speaks = np.where(last < 0, self._speaks, begins[last])
        if len(speaks):
            self._speaks = bool(speaks[-1])
        return speaks


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
        self._high_pass = HighPass(_LOWEST_HERTZ)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._peak = 0.0

    def probabilities(self, samples: Samples) -> Samples:
        """The probability of speech in each window of ``samples``, which follow the last call's.

        ``float32[n * WINDOW]`` to ``float32[n]``, in [0, 1].
        """
        step = _BATCH * WINDOW
        batches = (samples[first : first + step] for first in range(0, len(samples), step))
        return np.concatenate([self._detected(batch) for batch in batches])

    def _detected(self, samples: Samples) -> Samples:
        windows = self._high_pass(samples).reshape(-1, WINDOW)
        inputs = np.empty((len(windows), _CONTEXT + WINDOW), np.float32)
        inputs[0, :_CONTEXT] = self._context
        inputs[1:, :_CONTEXT] = windows[:-1, -_CONTEXT:]
        inputs[:, _CONTEXT:] = windows
        inputs *= self._gains(windows)
        self._context = windows[-1, -_CONTEXT:].copy()
        batch = {"input": inputs, "h": self._h, "c": self._c}
        found, self._h, self._c = self._session.run(None, batch)
        return np.reshape(found, -1)

    def _gains(self, windows: Samples) -> Samples:
        """The gain of each of ``windows``, ``[n, 1]`` with at most `_BATCH`, from the loudest
        recent peak.
        """
        peaks = np.maximum(windows.max(axis=1), -windows.min(axis=1))
        # Each peak as if it had been in the window before these, so that none has to decay.
        decayed = _DECAYED[: len(peaks) + 1]
        loudest = np.maximum.accumulate(np.append(self._peak, peaks) / decayed) * decayed
        self._peak = float(loudest[-1])
        quietest = _TARGET_PEAK / _MAX_GAIN
        levels = np.clip(loudest[1:], quietest, _TARGET_PEAK)
        gains: Samples = (_TARGET_PEAK / levels).astype(np.float32)
        return gains[:, None]
