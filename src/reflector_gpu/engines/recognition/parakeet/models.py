"""The Parakeets that have a name, and those in an operator's folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec
from reflector_gpu.engines.weights import Weights

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
)
EUROPEAN_SPEC = replace(ENGLISH_SPEC, languages=EUROPEAN)


def _int8(spec: RecogniserSpec) -> RecogniserSpec:
    # Dynamic quantisation takes its scale from a whole tensor, so a chunk's words would depend on
    # the other chunks of its batch. Some of its operators exist for CPUs alone.
    return replace(spec, max_batch=1, devices=("cpu",))


ENGINE = "reflector_gpu.engines.recognition.parakeet.onnx:ParakeetRecogniser"


def _model(
    name: str, megabytes: int, summary: str, spec: RecogniserSpec, files: tuple[str, ...]
) -> RecogniserModel:
    exported = name.removeprefix("nvidia/").removesuffix("-int8")
    required = (*files, "vocab.txt", "config.json")
    # An ONNX file has 2 GB at most; the rest is in a file beside it.
    patterns = (*required, f"{files[0]}?data")
    return RecogniserModel(
        name,
        ENGINE,
        spec,
        f"Parakeet {summary}",
        "CC-BY-4.0",
        packages=("onnx_asr", "huggingface_hub"),
        extra="parakeet",
        weights=Weights(f"istupakov/{exported}-onnx", patterns, required, megabytes),
        arguments={"quantization": "int8"} if name.endswith("int8") else {},
    )


_V2, _V3 = "nvidia/parakeet-tdt-0.6b-v2", "nvidia/parakeet-tdt-0.6b-v3"
_ENGLISH = "TDT 0.6B, English, punctuated"
_EUROPEAN = "TDT 0.6B, 25 European languages, punctuated"

_TDT = ("encoder-model.onnx", "encoder-model.onnx.data", "decoder_joint-model.onnx")
_TDT_INT8 = ("encoder-model.int8.onnx", "decoder_joint-model.int8.onnx")

MODELS = (
    _model(_V2, 2480, _ENGLISH, ENGLISH_SPEC, _TDT),
    _model(_V3, 2550, _EUROPEAN, EUROPEAN_SPEC, _TDT),
    _model(f"{_V2}-int8", 661, f"{_ENGLISH}; int8 for CPUs", _int8(ENGLISH_SPEC), _TDT_INT8),
    _model(f"{_V3}-int8", 670, f"{_EUROPEAN}; int8 for CPUs", _int8(EUROPEAN_SPEC), _TDT_INT8),
    _model(
        "nvidia/parakeet-ctc-0.6b",
        2440,
        "CTC 0.6B, English, lower case",
        ENGLISH_SPEC,
        ("model.onnx",),
    ),
)


_MULTILINGUAL_PIECES = 4096  # v2 has 1,024, v3 8,192


def local(name: str, folder: Path) -> RecogniserModel | None:
    """The Parakeet in ``folder``, if there is one. The size of its vocabulary tells v2 from v3.

    The quantised one is taken only if there is no other.
    """
    if not all((folder / file).is_file() for file in ("vocab.txt", "config.json")):
        return None
    pieces = len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    spec = EUROPEAN_SPEC if pieces > _MULTILINGUAL_PIECES else ENGLISH_SPEC
    plain, quantised = ("encoder-model", "model"), ("encoder-model.int8", "model.int8")
    int8 = _holds(folder, quantised) and not _holds(folder, plain)
    return RecogniserModel(
        name,
        ENGINE,
        _int8(spec) if int8 else spec,
        "Parakeet from a local folder",
        "see the folder",
        packages=("onnx_asr",),
        extra="parakeet",
        arguments={"weights": str(folder), **({"quantization": "int8"} if int8 else {})},
    )


def _holds(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / f"{name}.onnx").is_file() for name in names)
