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

    def __init__(self, file: Path, kind: str, device: str, inputs: int = 1) -> None:
        self.kind = kind
        if not file.is_file():
            raise ModelNotInstalled(f"The folder of this diarizer has no {file.name}.")
        self._session = _session(file, device)
        self._facts: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._inputs = [one.name for one in self._session.get_inputs()]
        outputs = self._session.get_outputs()
        if len(self._inputs) != inputs or not outputs:
            raise self.unfit(f"it has {len(self._inputs)} inputs, not {inputs}")
        self._output = outputs[0].name
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

    def run(self, *values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """
        Raises:
            EngineFailed: the device has no memory for it, or the network is broken.
        """
        try:
            (found,) = self._session.run(
                [self._output], dict(zip(self._inputs, values, strict=True))
            )
        except onnx_failures() as error:
            reason = str(error).partition("\n")[0]
            raise EngineFailed(f"The {self.kind} network failed: {reason}") from error
        return np.asarray(found, np.float32)

    def check_run(self, shape: tuple[int, ...], *values: npt.NDArray[np.float32]) -> None:
        """Check that ``values`` give the ``shape`` that the metadata promise. It warms up, too."""
        try:
            found = self.run(*values).shape
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
        network.check_run((1, self.frames, classes), silence)
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


class _Speakers(_Network):
    """A speaker embedding, which makes a vector of ``dimensions`` of a voice."""

    def __init__(self, file: Path, device: str, inputs: int, shapes: Mapping[str, Shape]) -> None:
        super().__init__(file, "embedding", device, inputs)
        framework = self.text("framework")
        if framework not in shapes:
            raise self.unfit(f"it is of '{framework[:40]}', not of {' or '.join(shapes)}")
        # WeSpeaker's files do not say so, but its wespeaker/bin/infer_onnx.py does this, too.
        if (normalised := self.text("feature_normalize_type", _MEAN)) not in ("", _MEAN):
            raise self.unfit(f"its features are normalised by '{normalised[:40]}'")
        self._shape: Shape = shapes[framework]
        # The other networks are trained on the values of 16-bit samples.
        scaled = self.number("normalize_samples", 0, 1)
        self._scale = np.float32(1.0 if scaled else 32768.0)
        self.dimensions = self.number("output_dim", 1, _LARGEST["dimensions"])

    def features(self, samples: Samples) -> Frames:
        return fbank(samples * self._scale, self._shape)


class Embedding:
    """A speaker embedding of WeSpeaker or 3D-Speaker, which makes a vector of a voice."""

    def __init__(self, file: Path, device: str) -> None:
        """Raises `ModelNotInstalled` as `_Network` does."""
        network = _Speakers(file, device, 1, _SHAPES)
        network.check_run((1, network.dimensions), np.zeros((1, 200, BANDS), np.float32))
        self._network = network

    def features(self, samples: Samples) -> Frames:
        """The features of ``samples``, as `voice` takes them."""
        return self._network.features(samples)

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


class MaskedEmbedding:
    """A speaker embedding of pyannote: it hears a window once, for the voices of all its speakers.

    Its second input says when each of them is heard.
    """

    def __init__(self, file: Path, device: str, *, frames: int) -> None:
        """``frames`` are those of a window's segmentation.

        Raises `ModelNotInstalled` as `_Network` does.
        """
        network = _Speakers(file, device, 2, {"pyannote": "hamming"})
        shape = (1, 2, network.dimensions)
        silence = np.zeros((1, 200, BANDS), np.float32), np.ones((1, 2, frames), np.float32)
        network.check_run(shape, *silence)
        self.dimensions = network.dimensions
        self._network = network

    def voices(self, sound: Samples, masks: Activity) -> npt.NDArray[np.float32]:
        """``float32[n, dimensions]`` for the voices that are heard where ``bool[n, frames]`` says.

        A voice that the network does not find is 0.
        """
        features = self._network.features(sound)
        centred = features - features.mean(axis=0)
        told = masks[None].astype(np.float32)
        found: npt.NDArray[np.float32] = self._network.run(centred[None], told)[0].copy()
        found[~np.isfinite(found).all(axis=1)] = 0.0
        return found


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
