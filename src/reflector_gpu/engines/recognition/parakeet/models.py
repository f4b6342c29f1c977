"""The Parakeets that have a name, and those in an operator's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec
from reflector_gpu.engines.recognition.parakeet import tensorrt
from reflector_gpu.engines.weights import Weights

if TYPE_CHECKING:  # it needs pydantic, without which a card can be measured
    from reflector_gpu.setting_types import ParakeetRuntime

EUROPEAN = frozenset(
    "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()
)
"""The 25 languages of parakeet-tdt-0.6b-v3."""

_MAX_BATCH_SECONDS = 480.0
"""Padded seconds of one batch: `ENGLISH_SPEC.max_batch` short chunks, or 16 of the longest.

Most memory goes to the encoder's first convolution. Its 256 channels of 64 bands, 50 times a
second, are 3.3 MB a second in float32, and several such tensors live at once. Attention is
quadratic, but takes 0.5 MB a second at 30 s. Onnx-asr is reported to take 6 GB on an RTX 3060 for
150 s at once (https://github.com/bguedes/Echo2Text): 3 GB for weights and CUDA, and 20 MB a second.
So 480 s leave 10 of the 24 GB of an A10G for another model.
"""

ENGLISH_SPEC = RecogniserSpec(
    languages=frozenset({"en"}),
    max_chunk_seconds=30.0,
    max_gap_seconds=2.0,
    max_batch=32,
    max_batch_seconds=_MAX_BATCH_SECONDS,
    devices=("cpu", "cuda", "tensorrt"),
    logprobs=True,
    sure=0.9,
)
EUROPEAN_SPEC = replace(ENGLISH_SPEC, languages=EUROPEAN)


_MAX_TORCH_SECONDS = 3840.0
"""Padded seconds of one batch on PyTorch: 128 chunks of 30 s, about 10 GB in half precision.

On a card with less free memory, the engine cuts a batch into packs that fit (`pytorch.budget`).
"""

_MAX_LIVE_SECONDS = 480.0
"""The same for live requests, which have a worker of their own on a card: 3 GB, and soon done."""

TORCH_SPEC = replace(
    ENGLISH_SPEC,
    max_batch=128,
    max_batch_seconds=_MAX_TORCH_SECONDS,
    max_live_seconds=_MAX_LIVE_SECONDS,
    prepares=True,
    max_cpu_batch=32,
    devices=("cpu", "cuda"),
)


TENSORRT_SPEC = replace(
    ENGLISH_SPEC,
    max_batch=128,
    max_batch_seconds=_MAX_TORCH_SECONDS,
    devices=("tensorrt",),
    logprobs=False,
)


def _int8(spec: RecogniserSpec) -> RecogniserSpec:
    # Dynamic quantisation takes its scale from a whole tensor, so a chunk's words would depend on
    # the other chunks of its batch. Some of its operators exist for CPUs alone.
    return replace(spec, max_batch=1, devices=("cpu",))


ONNX_ENGINE = "reflector_gpu.engines.recognition.parakeet.onnx:ParakeetRecogniser"
TENSORRT_ENGINE = "reflector_gpu.engines.recognition.parakeet.tensorrt:TensorrtParakeet"
TORCH_ENGINE = "reflector_gpu.engines.recognition.parakeet.pytorch.engine:TorchParakeet"


def _model(
    name: str, megabytes: int, summary: str, spec: RecogniserSpec, files: tuple[str, ...]
) -> RecogniserModel:
    exported = name.removeprefix("nvidia/").removesuffix("-int8")
    required = (*files, "vocab.txt", "config.json")
    # An ONNX file has 2 GB at most; the rest is in a file beside it.
    patterns = (*required, f"{files[0]}?data")
    return RecogniserModel(
        name,
        ONNX_ENGINE,
        spec,
        f"Parakeet {summary}",
        "CC-BY-4.0",
        packages=("onnx_asr", "huggingface_hub"),
        extra="parakeet",
        weights=Weights(f"istupakov/{exported}-onnx", patterns, required, megabytes),
        arguments={"quantization": "int8"} if name.endswith("int8") else {},
    )


def _torch_model(
    name: str, megabytes: int, summary: str, spec: RecogniserSpec, files: tuple[str, ...]
) -> RecogniserModel:
    return RecogniserModel(
        f"{name}{_ON_TORCH}",
        TORCH_ENGINE,
        spec,
        f"Parakeet {summary}; on PyTorch",
        "CC-BY-4.0",
        packages=("torch", "transformers", "huggingface_hub"),
        extra="torch",
        weights=Weights(name, files, files, megabytes),
    )


_ON_TORCH = "-torch"

_V2, _V3, _CTC = (
    "nvidia/parakeet-tdt-0.6b-v2",
    "nvidia/parakeet-tdt-0.6b-v3",
    "nvidia/parakeet-ctc-0.6b",
)
_ENGLISH = "TDT 0.6B, English, punctuated"
_EUROPEAN = "TDT 0.6B, 25 European languages, punctuated"
_LOWER_CASE = "CTC 0.6B, English, lower case"

_TDT = ("encoder-model.onnx", "encoder-model.onnx.data", "decoder_joint-model.onnx")
_SAFETENSORS = ("model.safetensors", "config.json", "tokenizer.json")
_TDT_INT8 = ("encoder-model.int8.onnx", "decoder_joint-model.int8.onnx")

MODELS = (
    _model(_V2, 2480, _ENGLISH, ENGLISH_SPEC, _TDT),
    _model(_V3, 2550, _EUROPEAN, EUROPEAN_SPEC, _TDT),
    _model(f"{_V2}-int8", 661, f"{_ENGLISH}; int8 for CPUs", _int8(ENGLISH_SPEC), _TDT_INT8),
    _model(f"{_V3}-int8", 670, f"{_EUROPEAN}; int8 for CPUs", _int8(EUROPEAN_SPEC), _TDT_INT8),
    _model(_CTC, 2440, _LOWER_CASE, ENGLISH_SPEC, ("model.onnx",)),
    _torch_model(_V2, 2470, _ENGLISH, TORCH_SPEC, ("parakeet-tdt-0.6b-v2.nemo",)),
    _torch_model(_V3, 2510, _EUROPEAN, replace(TORCH_SPEC, languages=EUROPEAN), _SAFETENSORS),
    _torch_model(_CTC, 2440, _LOWER_CASE, TORCH_SPEC, _SAFETENSORS),
)


def on_torch(runtime: ParakeetRuntime, devices: Collection[str]) -> dict[str, str]:
    """Which of `MODELS` are to run on PyTorch, and what they are called there.

    ``auto`` means those that are ready for it on CUDA: PyTorch is built for it, and the weights are
    here, or neither these nor those of ONNX Runtime are.
    """
    models = {model.name: model for model in MODELS}
    pairs = {name: name + _ON_TORCH for name in models if name + _ON_TORCH in models}
    if runtime == "auto":
        if not (_wants_cuda(devices) and _built_for_cuda()):
            return {}
        return {
            name: other
            for name, other in pairs.items()
            if not models[other].missing or (models[other].downloadable and models[name].missing)
        }
    return pairs if runtime == "torch" else {}


def _wants_cuda(devices: Collection[str]) -> bool:
    kinds = {device.partition(":")[0] for device in devices}
    return "cuda" in kinds and "tensorrt" not in kinds


def _built_for_cuda() -> bool:
    """Whether there is a PyTorch that is not for CPUs alone; importing it would take seconds."""
    try:
        return not metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False


_MULTILINGUAL_PIECES = 4096  # v2 has 1,024, v3 8,192
_TRANSFORMERS_TYPES = ("parakeet_tdt", "parakeet_ctc")


def local(name: str, folder: Path) -> RecogniserModel | None:
    """The Parakeet in ``folder``, if there is one. The size of its vocabulary tells v2 from v3.

    Of several forms, one for ONNX Runtime is preferred, and the quantised one comes last.
    """
    return _local_onnx(name, folder) or _local_torch(name, folder) or _local_tensorrt(name, folder)


def _local_onnx(name: str, folder: Path) -> RecogniserModel | None:
    if not all((folder / file).is_file() for file in ("vocab.txt", "config.json")):
        return None
    pieces = len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    spec = _spoken(ENGLISH_SPEC, pieces)
    plain, quantised = ("encoder-model", "model"), ("encoder-model.int8", "model.int8")
    int8 = _holds(folder, quantised) and not _holds(folder, plain)
    return RecogniserModel(
        name,
        ONNX_ENGINE,
        _int8(spec) if int8 else spec,
        "Parakeet from a local folder",
        "see the folder",
        packages=("onnx_asr",),
        extra="parakeet",
        arguments={"weights": str(folder), **({"quantization": "int8"} if int8 else {})},
    )


def _local_torch(name: str, folder: Path) -> RecogniserModel | None:
    pieces = _pieces_on_torch(folder)
    if pieces is None:
        return None
    return RecogniserModel(
        name,
        TORCH_ENGINE,
        _spoken(TORCH_SPEC, pieces),
        "Parakeet on PyTorch from a local folder",
        "see the folder",
        packages=("torch", "transformers"),
        extra="torch",
        arguments={"weights": str(folder)},
    )


def _local_tensorrt(name: str, folder: Path) -> RecogniserModel | None:
    """What fast-gpu-asr has exported. A model has no weights for all cards, so only folders do."""
    if not all((folder / file).is_file() for file in tensorrt.FILES):
        return None
    config = (folder / tensorrt.FILES[0]).read_text(encoding="utf-8")
    pieces = re.search(r"^vocab_size: *(\d+)", config, re.MULTILINE)
    return RecogniserModel(
        name,
        TENSORRT_ENGINE,
        _spoken(TENSORRT_SPEC, int(pieces[1]) if pieces else 0),
        "Parakeet by fast-gpu-asr from a local folder",
        "see the folder",
        packages=("fast_gpu_asr",),
        extra="tensorrt",
        arguments={"weights": str(folder)},
    )


def _pieces_on_torch(folder: Path) -> int | None:
    """The size of the vocabulary in ``folder``, or None if it holds no model for PyTorch."""
    if archive := next(iter(sorted(folder.glob("*.nemo"))), None):
        # Its configuration would have to be unpacked; the name tells as much.
        return _MULTILINGUAL_PIECES + 1 if "v3" in archive.stem else 0
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or config.get("model_type") not in _TRANSFORMERS_TYPES:
        return None
    size = config.get("vocab_size")
    return size if isinstance(size, int) else 0


def _spoken(spec: RecogniserSpec, pieces: int) -> RecogniserSpec:
    return replace(spec, languages=EUROPEAN) if pieces > _MULTILINGUAL_PIECES else spec


def _holds(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / f"{name}.onnx").is_file() for name in names)
