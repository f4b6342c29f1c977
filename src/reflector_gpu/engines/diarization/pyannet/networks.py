"""The two networks on ONNX Runtime: who is active in five seconds, and how a voice sounds.

Both files are beside this module. ``tests/fixtures/recipes/pyannet.py`` made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.accelerators import check_session, onnx_failures, onnx_providers
from reflector_gpu.engines.diarization.pyannet.mel import (
    HOP,
    MARGIN,
    PIECE,
    Mel,
    levelled,
    mel_power,
    piece_starts,
)
from reflector_gpu.errors import EngineFailed
from reflector_gpu.types import Samples

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WINDOW = 80_000
"""Samples of a window: five seconds, on which the network is trained."""

FRAMES, SPEAKERS = 293, 3
"""What the network tells of a window: probabilities ``[FRAMES, SPEAKERS]``."""

FIELD, SHIFT = 991, 270
"""Samples that a frame covers, and from one frame to the next."""

STEP = 90
"""Frames from a window to the next: 1.5 s. With more, short turns are lost; fewer cost more time
and find nothing more."""

WINDOWS = 8
"""Windows that are heard at once; more are not faster."""

BLOCK = (WINDOWS - 1) * STEP * SHIFT + WINDOW
"""Samples that so many windows cover."""

DIMENSIONS = 256

_BEGINS, _ENDS = 0.6, 0.4  # of a speaker's probability: less goes on than begins
_SILENT = 45.0  # dB below the loudest speech of a window: nobody speaks there
_LOUD = 95  # percentile of a window's levels that counts as its loudest speech
_SHORTEST_SILENCE = 12  # frames: 0.2 s; in words it is silent for a shorter time
_CLEAR_ROWS = 100  # a second that a voice must be alone for, so that it shows well
_FEWEST_ALONE, _FEWEST_ROWS = 20, 5  # rows of a voice that can be described
_PIECES = 32  # that the encoder takes at once


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """How a ``speaker`` of a window sounds: a vector of length 1, at half precision.

    It is ``clear`` if enough of it was heard without anybody else.
    """

    window: int
    speaker: int
    vector: npt.NDArray[np.float16]
    clear: bool


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What the networks tell of successive windows.

    ``anybody`` is how probable it is that anybody speaks, ``uint8[n, FRAMES]``, and 255 is certain.
    ``active`` are bits ``[n, FRAMES, SPEAKERS]``, packed. `Voice.window` counts from the first
    window of these.
    """

    anybody: npt.NDArray[np.uint8]
    active: npt.NDArray[np.uint8]
    voices: tuple[Voice, ...]


class Networks:
    """Both networks; ``hear`` may be called in several threads at once."""

    def __init__(self, device: str = "cpu") -> None:
        """
        Raises:
            ModelNotInstalled: ONNX Runtime cannot use the device.
        """
        self._segmentation = _session("segmentation.onnx", device)
        self._voice = _session("voice.onnx", device)

    def hear(self, samples: Samples, windows: int) -> Heard:
        """What ``windows`` tell, in ``samples`` that begin and end `MARGIN` outside of them.

        Raises:
            EngineFailed: the device has no memory for it.
        """
        begins = np.arange(windows) * STEP * SHIFT
        inner = samples[MARGIN : len(samples) - MARGIN]
        stacked = np.stack([inner[begin : begin + WINDOW] for begin in begins])
        probabilities = self._run(self._segmentation, stacked[:, None])
        silent = np.stack([_silent(window) for window in stacked])
        probabilities[silent] = 0.0
        active = hysteresis(probabilities, _BEGINS, _ENDS)
        return Heard(
            np.rint(probabilities.max(axis=2) * 255).astype(np.uint8),
            np.packbits(active.reshape(windows, -1), axis=1),
            tuple(self._voices(samples, active)),
        )

    def vector(self, mel: Mel) -> npt.NDArray[np.float32]:
        """The vector of the only voice in ``mel``, whose level does not matter."""
        found: npt.NDArray[np.float32] = self._vectors([mel])[0]
        return found

    def _voices(self, samples: Samples, active: npt.NDArray[np.bool_]) -> list[Voice]:
        if not active.any():
            return []
        mel = mel_power(samples)
        who: list[tuple[int, int, bool]] = []
        voices: list[Mel] = []
        for window, spoken in enumerate(active):
            begin = window * STEP * SHIFT
            rows = np.arange(-(-begin // HOP), (begin + WINDOW) // HOP)
            frames = (rows * HOP - begin - FIELD // 2 + SHIFT // 2) // SHIFT
            now = spoken[np.clip(frames, 0, FRAMES - 1)]
            alone = now.sum(axis=1) == 1
            for speaker, speaks in enumerate(now.T):
                own = rows[speaks & alone]
                clear = len(own) >= _CLEAR_ROWS
                if len(own) < _FEWEST_ALONE:
                    own = rows[speaks]
                if len(own) >= _FEWEST_ROWS:
                    who.append((window, speaker, clear))
                    voices.append(mel[own])
        vectors = self._vectors(voices).astype(np.float16)
        return [
            Voice(window, speaker, vector, clear)
            for (window, speaker, clear), vector in zip(who, vectors, strict=True)
        ]

    def _vectors(self, voices: list[Mel]) -> npt.NDArray[np.float32]:
        """``float32[n, DIMENSIONS]``, of length 1."""
        found = np.zeros((len(voices), DIMENSIONS), np.float32)
        pieces: list[Mel] = []
        owners: list[int] = []
        for number, rows in enumerate(voices):
            long = rows if len(rows) >= PIECE else np.resize(rows, (PIECE, rows.shape[1]))
            own = np.stack([long[begin : begin + PIECE] for begin in piece_starts(len(long))])
            pieces.extend(levelled(own))
            owners.extend([number] * len(own))
        for first in range(0, len(pieces), _PIECES):
            batch = np.stack(pieces[first : first + _PIECES])
            np.add.at(found, owners[first : first + _PIECES], self._run(self._voice, batch))
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = found / np.maximum(lengths, np.float32(1e-9))
        return unit

    @staticmethod
    def _run(session: InferenceSession, values: Samples) -> npt.NDArray[np.float32]:
        try:
            (found,) = session.run(None, {"x": values})
        except onnx_failures() as error:
            reason = str(error).partition("\n")[0]
            raise EngineFailed(f"A network of the diarizer failed: {reason}") from error
        return np.asarray(found, np.float32)


def hysteresis(
    probabilities: npt.NDArray[np.float32], begins: float, ends: float
) -> npt.NDArray[np.bool_]:
    """On from where a probability is above ``begins`` to where it is below ``ends``.

    The shape is ``[n, frames, speakers]``.
    """
    on = np.zeros(probabilities.shape, bool)
    state = np.zeros(probabilities.shape[::2], bool)
    for frame in range(probabilities.shape[1]):
        now = probabilities[:, frame]
        state = now > np.where(state, ends, begins)
        on[:, frame] = state
    return on


def _silent(window: Samples) -> npt.NDArray[np.bool_]:
    """The frames of a window that are silent, as pauses are after a noise gate or a cut.

    The network takes those for speech if they are short.
    """
    energy = np.concatenate([[0.0], np.cumsum(np.square(window, dtype=np.float64))])
    begins = np.arange(FRAMES) * SHIFT
    power = (energy[np.minimum(begins + FIELD, WINDOW)] - energy[begins]) / FIELD
    levels = 10 * np.log10(power + 1e-12)
    quiet: npt.NDArray[np.bool_] = levels < np.percentile(levels, _LOUD) - _SILENT
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    for begin, end in edges.reshape(-1, 2):
        if end - begin < _SHORTEST_SILENCE:
            quiet[begin:end] = False
    return quiet


def _session(name: str, device: str) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Blocks are heard in threads; inside of a network they help little.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(Path(__file__).with_name(name)),
        options,
        providers=onnx_providers(device, longest_seconds=0, max_batch=1),
    )
    check_session(session, device)
    return session
