"""NVIDIA Parakeet on ONNX Runtime: FastConformer with a TDT or a CTC head, batched.

onnx-asr loads the files (NeMo's own export) and computes the features. Its transducer loop takes
one Python step for one utterance at a time, so `engines.recognition.tdt` replaces it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reflector_gpu.engines.accelerators import check_session, onnx_failures, onnx_providers
from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.outcomes import each, together
from reflector_gpu.engines.recognition import tdt
from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec, checked
from reflector_gpu.engines.recognition.sound import spoken
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import EngineFailed, ModelNotInstalled, ReflectorError
from reflector_gpu.types import (
    SAMPLE_RATE,
    Recognition,
    Samples,
    Segment,
    Token,
    TranscribeOptions,
    Word,
)

if TYPE_CHECKING:
    from onnx_asr.models.nemo import NemoConformerCtc, NemoConformerTdt
    from onnxruntime import InferenceSession

EUROPEAN = frozenset(
    "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()
)
"""The 25 languages of parakeet-tdt-0.6b-v3."""

_HOP_SECONDS = 0.01  # between two feature frames
_SHORTEST = SAMPLE_RATE // 10  # samples; the feature extractor fails on a few frames

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


ENGINE = "reflector_gpu.engines.recognition.parakeet:ParakeetRecogniser"


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


class ParakeetRecogniser:
    """``weights`` is a folder in onnx-asr's form: NeMo's ONNX export, vocab.txt, config.json.

    ``quantization`` picks the files, ``int8`` for ``encoder-model.int8.onnx`` and so on.
    ``device`` is ``cpu``, ``cuda`` or ``tensorrt``.
    """

    def __init__(self, weights: str, device: str = "cpu", quantization: str = "") -> None:
        self._weights = Path(weights)
        self._device = device
        self._quantization = quantization or None
        self._head: TdtHead | _CtcHead | None = None

    def load(self) -> None:
        with needs_extra("Parakeet models", "parakeet"):
            import onnx_asr
            import onnxruntime
            from onnx_asr.models.nemo import NemoConformerCtc, NemoConformerTdt
            from onnx_asr.utils import ModelLoadingError
        kind = _model_type(self._weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        longest = ENGLISH_SPEC.max_chunk_seconds
        try:
            adapter = onnx_asr.load_model(
                kind,
                self._weights,
                quantization=self._quantization,
                sess_options=options,
                providers=onnx_providers(self._device, longest, ENGLISH_SPEC.max_batch),
            )
        except ModelLoadingError as error:
            precision = f" in {self._quantization}" if self._quantization else ""
            raise ModelNotInstalled(
                f"The folder of this Parakeet model has not all files of a {kind}{precision}."
            ) from error
        model = adapter.asr
        match model:
            case NemoConformerTdt():
                check_session(model._encoder, self._device)
                self._head = TdtHead(model)
            case NemoConformerCtc():
                check_session(model._model, self._device)
                self._head = _CtcHead(model)
            case _:
                raise ModelNotInstalled(f"Models of type '{kind}' are not Parakeet TDT or CTC.")

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, as `Recogniser` says.

        Raises:
            EngineFailed: the device has no memory for so many chunks at once.
        """

        def recognise(batch: Sequence[Samples]) -> list[Recognition]:
            alone = self._quantization is not None  # see `_int8`
            parts = [[samples] for samples in batch] if alone else [batch]
            found = chain.from_iterable(map(self._words, parts))
            # v3 follows the spoken language, but does not say which it is.
            return [
                _recognition(words, samples, options.language)
                for words, samples in zip(found, batch, strict=True)
            ]

        return together(recognise, np.ndarray, each(_readable, chunks))

    def close(self) -> None:
        self._head = None

    def _words(self, batch: Sequence[Samples]) -> list[list[Word]]:
        assert self._head is not None, "load() comes first"
        try:
            return self._head.words(batch)
        except onnx_failures() as error:
            reason = str(error).partition("\n")[0]
            raise EngineFailed(f"Parakeet failed on a batch of {len(batch)}: {reason}") from error


def _readable(samples: Samples) -> Samples | Recognition:
    """``samples`` if there are enough of them. Otherwise an empty recognition."""
    return samples if len(checked(samples)) >= _SHORTEST else Recognition()


def _recognition(words: Sequence[Word], samples: Samples, language: str | None) -> Recognition:
    said = list(compress(words, spoken(words, samples)))
    return Recognition((Segment.of(said),) if said else (), language)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a word, with times in seconds. A leading space begins a new word."""

    id: int
    text: str
    start: float
    end: float
    logprob: float


class TdtHead:
    """Our decoder over the networks that onnx-asr has loaded.

    onnx-asr has no public access to its networks. Only this and `_CtcHead` rely on its internals,
    and pyproject bounds its version.
    """

    def __init__(self, model: NemoConformerTdt) -> None:
        self._model = model
        self._frame = model.window_step * model._subsampling_factor
        model._decoder_joint = _batching(model)

    def words(self, batch: Sequence[Samples]) -> list[list[Word]]:
        model = self._model
        encoded, lengths = model._encode(*model._preprocessor(*_padded(batch)))
        return [_words(self._pieces(one)) for one in self.decode(encoded, lengths)]

    def decode(self, encoded: tdt.Floats, lengths: tdt.Ints) -> list[tdt.Decoded]:
        """The pieces in ``encoded``, ``float32[b, t, d]`` of which ``lengths[b]`` frames count.

        Tokens and frames are those of onnx-asr's own loop.
        """
        model = self._model
        first, second = (np.repeat(s, len(encoded), axis=1) for s in model._create_state())
        return tdt.greedy(
            encoded,
            np.minimum(lengths, encoded.shape[1]),
            self._joint,
            (first, second),
            vocabulary=model._vocab_size,
            blank=model._blank_idx,
            max_symbols=model._max_tokens_per_step,
        )

    def _joint(
        self, frames: tdt.Floats, last: tdt.Ints, states: tdt.States
    ) -> tuple[tdt.Floats, tdt.States]:
        outputs, first, second = self._model._decoder_joint.run(
            ["outputs", "output_states_1", "output_states_2"],
            {
                "encoder_outputs": frames[:, :, None],
                "targets": last[:, None].astype(np.int32),
                "target_length": np.ones(len(last), np.int32),
                "input_states_1": states[0],
                "input_states_2": states[1],
            },
        )
        return outputs.reshape(len(last), -1), (first, second)

    def _pieces(self, decoded: tdt.Decoded) -> Iterable[_Piece]:
        vocabulary, frame = self._model._vocab, self._frame
        ends = decoded.frames + np.maximum(decoded.durations, 1)
        for token, start, end, logprob in zip(
            decoded.tokens, decoded.frames, ends, decoded.logprobs, strict=True
        ):
            text = vocabulary[int(token)]
            yield _Piece(int(token), text, float(start) * frame, float(end) * frame, float(logprob))


def _batching(model: NemoConformerTdt) -> InferenceSession:
    """The prediction and joint networks, loaded so that batches are fast.

    ONNX Runtime would fuse the joint's transpose and product into an operator that multiplies row
    by row, and reads the weights for each: about a quarter of the time at a batch of 17.
    """
    from onnxruntime import InferenceSession

    return InferenceSession(
        model._decoder_joint._model_path,
        **model.runtime_config,
        disabled_optimizers=["MatmulTransposeFusion"],
    )


class _CtcHead:
    """onnx-asr's own greedy CTC, which is batched. A token ends one frame after it begins."""

    def __init__(self, model: NemoConformerCtc) -> None:
        self._model = model
        self._frame = model.window_step * model._subsampling_factor
        self._ids = {text: token for token, text in model._vocab.items()}

    def words(self, batch: Sequence[Samples]) -> list[list[Word]]:
        found = self._model.recognize_batch(*_padded(batch), need_logprobs=True)
        return [
            _words(
                _Piece(self._ids[text], text, start, start + self._frame, logprob)
                for text, start, logprob in zip(
                    one.tokens or (), one.timestamps or (), one.logprobs or (), strict=True
                )
            )
            for one in found
        ]


def _words(pieces: Iterable[_Piece]) -> list[Word]:
    groups: list[list[_Piece]] = []
    for piece in pieces:
        if piece.text.startswith(" ") or not groups:
            groups.append([])
        groups[-1].append(piece)
    return [_word(group) for group in groups if any(piece.text.strip() for piece in group)]


def _word(pieces: Sequence[_Piece]) -> Word:
    mean = sum(piece.logprob for piece in pieces) / len(pieces)
    return Word(
        "".join(piece.text for piece in pieces).strip(),
        pieces[0].start,
        pieces[-1].end,
        min(1.0, float(np.exp(mean))),
        tokens=tuple(Token(one.id, one.text.encode(), min(0.0, one.logprob)) for one in pieces),
    )


def _padded(batch: Sequence[Samples]) -> tuple[Samples, tdt.Ints]:
    """``float32[b, longest]`` padded with zeros, and the lengths."""
    lengths = np.array([len(samples) for samples in batch], np.int64)
    padded = np.zeros((len(batch), int(lengths.max())), np.float32)
    for row, samples in zip(padded, batch, strict=True):
        row[: len(samples)] = samples
    return padded, lengths


def _model_type(weights: Path) -> str:
    try:
        config = json.loads((weights / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelNotInstalled(
            "The folder of this Parakeet model has no readable config.json; pull the model again."
        ) from error
    return str(config.get("model_type", "nemo-conformer-tdt"))
