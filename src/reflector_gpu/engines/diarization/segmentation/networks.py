"""The two networks: one finds who speaks in ten seconds, the other describes a voice.

Both are ONNX files that describe themselves in their metadata, with the keys of sherpa-onnx's
export scripts (scripts/pyannote/segmentation, scripts/wespeaker, scripts/3dspeaker).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.accelerators import check_session, onnx_failures, onnx_providers
from reflector_gpu.engines.diarization.segmentation.filterbank import (
    BANDS,
    HOP,
    WINDOW,
    Frames,
    Shape,
    fbank,
)
from reflector_gpu.errors import EngineFailed, ModelNotInstalled
from reflector_gpu.types import SAMPLE_RATE, Samples

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Activity: TypeAlias = npt.NDArray[np.bool_]
"""``bool[frames, speakers]``: which speakers of a window are active."""

_LARGEST = {"speakers": 8, "window": 60 * SAMPLE_RATE, "dimensions": 4096}
"""More than any released model has. A file that says more is taken to be damaged."""


class _Network:
    """A network of this ``kind``, and the metadata of its file.

    Raises:
        ModelNotInstalled: there is no file, it is no ONNX, or it holds another kind of network.
    """

    def __init__(self, file: Path, kind: str, device: str) -> None:
        self.kind = kind
        if not file.is_file():
            raise ModelNotInstalled(f"The folder of this diarizer has no {file.name}.")
        self._session = _session(file, device)
        self._facts: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or not outputs:
            raise self.unfit(f"it has {len(inputs)} inputs, not one")
        self._input, self._output = inputs[0].name, outputs[0].name
        if (rate := self.number("sample_rate", 1, 10**6)) != SAMPLE_RATE:
            raise self.unfit(f"it wants {rate} samples a second, not {SAMPLE_RATE}")

    def text(self, key: str, default: str | None = None) -> str:
        found = self._facts.get(key, default)
        if found is None:
            raise self.unfit(f"its metadata lack '{key}'")
        return found

    def number(self, key: str, least: int, most: int) -> int:
        text = self.text(key)
        if not text.isdecimal() or not least <= int(text[:20]) <= most:
            raise self.unfit(f"its '{key}' is '{text[:40]}', not a number from {least} to {most}")
        return int(text)

    def run(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """
        Raises:
            EngineFailed: the device has no memory for it, or the network is broken.
        """
        try:
            (found,) = self._session.run([self._output], {self._input: values})
        except onnx_failures() as error:
            reason = str(error).partition("\n")[0]
            raise EngineFailed(f"The {self.kind} network failed: {reason}") from error
        return np.asarray(found, np.float32)

    def check_run(self, values: npt.NDArray[np.float32], shape: tuple[int, ...]) -> None:
        """Check that ``values`` give the ``shape`` that the metadata promise. It warms up, too."""
        try:
            found = self.run(values).shape
        except EngineFailed as error:
            raise self.unfit(error.message) from error
        except _broken() as error:  # its input has another rank or type
            raise self.unfit(str(error).partition("\n")[0]) from error
        if found != shape:
            raise self.unfit(f"it gives {list(found)} where its metadata promise {list(shape)}")

    def unfit(self, reason: str) -> ModelNotInstalled:
        return ModelNotInstalled(
            f"The {self.kind} network of this diarizer cannot be used: {reason}."
        )


class Segmentation:
    """pyannote/segmentation-3.0 and similar networks: which speakers of a window are active.

    A ``window`` of samples gives ``frames``. Each covers ``field`` samples, and begins ``shift``
    after the one before.
    """

    def __init__(self, file: Path, device: str) -> None:
        """Raises `ModelNotInstalled` as `_Network` does."""
        network = _Network(file, "segmentation", device)
        self.speakers = network.number("num_speakers", 1, _LARGEST["speakers"])
        together = network.number("powerset_max_classes", 1, self.speakers)
        self.window = network.number("window_size", SAMPLE_RATE, _LARGEST["window"])
        self.field = network.number("receptive_field_size", 1, self.window)
        self.shift = network.number("receptive_field_shift", 1, self.window)
        self.frames = (self.window - self.field) // self.shift + 1
        self._sets = powerset(self.speakers, together)
        classes = network.number("num_classes", 1, 2 ** _LARGEST["speakers"])
        if classes != len(self._sets):
            raise network.unfit(f"it tells {classes} sets of speakers, not {len(self._sets)}")
        silence = np.zeros((1, 1, self.window), np.float32)
        network.check_run(silence, (1, self.frames, classes))
        self._network = network

    def active(self, windows: Samples) -> npt.NDArray[np.bool_]:
        """``float32[n, window]`` to ``bool[n, frames, speakers]``."""
        sets = self._network.run(windows[:, None]).argmax(axis=-1)
        found: npt.NDArray[np.bool_] = self._sets[sets]
        return found


def powerset(speakers: int, together: int) -> npt.NDArray[np.bool_]:
    """``bool[classes, speakers]``: every set of up to ``together`` speakers.

    Small sets come first, in the order of pyannote.audio's `Powerset`.
    """
    sets = [set(s) for n in range(together + 1) for s in combinations(range(speakers), n)]
    return np.array([[speaker in one for speaker in range(speakers)] for one in sets])


class Embedding:
    """A speaker embedding of WeSpeaker or 3D-Speaker, which makes a vector of a voice."""

    def __init__(self, file: Path, device: str) -> None:
        """Raises `ModelNotInstalled` as `_Network` does."""
        network = _Network(file, "embedding", device)
        framework = network.text("framework")
        if framework not in _SHAPES:
            raise network.unfit(f"it is of '{framework[:40]}', not of {' or '.join(_SHAPES)}")
        # WeSpeaker's files do not say so, but its wespeaker/bin/infer_onnx.py does this, too.
        if (normalised := network.text("feature_normalize_type", _MEAN)) not in ("", _MEAN):
            raise network.unfit(f"its features are normalised by '{normalised[:40]}'")
        self._shape: Shape = _SHAPES[framework]
        # The other networks are trained on the values of 16-bit samples.
        scaled = network.number("normalize_samples", 0, 1)
        self._scale = np.float32(1.0 if scaled else 32768.0)
        self.dimensions = network.number("output_dim", 1, _LARGEST["dimensions"])
        network.check_run(np.zeros((1, 200, BANDS), np.float32), (1, self.dimensions))
        self._network = network

    def features(self, samples: Samples) -> Frames:
        """The features of ``samples``, as `voice` takes them."""
        return fbank(samples * self._scale, self._shape)

    def voice(self, features: Frames) -> npt.NDArray[np.float32]:
        """The vector of length 1, ``float32[dimensions]``, for features of one speaker.

        It is 0 if the network finds no voice.
        """
        centred = features - features.mean(axis=0)
        found = self._network.run(centred[None])[0]
        length = float(np.linalg.norm(found))
        if not np.isfinite(length) or length == 0:
            return np.zeros_like(found)
        unit: npt.NDArray[np.float32] = found / np.float32(length)
        return unit


def centres(count: int) -> npt.NDArray[np.intp]:
    """The sample in the middle of each of ``count`` frames of features."""
    return np.arange(count) * HOP + WINDOW // 2


_MEAN = "global-mean"
_SHAPES: Mapping[str, Shape] = {"wespeaker": "hamming", "3d-speaker": "povey"}


def _session(file: Path, device: str) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            file, options, providers=onnx_providers(device, longest_seconds=0, max_batch=1)
        )
    except _broken() as error:
        reason = str(error).partition("\n")[0].replace(str(file), file.name)
        raise ModelNotInstalled(f"{file.name} cannot be read: {reason}") from error
    check_session(session, device)
    return session


def _broken() -> tuple[type[Exception], ...]:
    """The errors that ONNX Runtime raises for a wrong file or input."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        *onnx_failures(),
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        ValueError,
    )
