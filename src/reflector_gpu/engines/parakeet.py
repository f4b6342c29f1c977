"""NVIDIA Parakeet on ONNX Runtime: FastConformer with a TDT or a CTC head, batched.

onnx-asr loads the files (NeMo's own export) and computes the features; its transducer loop, one
utterance and one Python step at a time, is replaced by `engines.tdt`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reflector_gpu.engines import tdt
from reflector_gpu.engines.base import Model, TranscriberSpec, check_samples
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import ModelNotInstalled, ReflectorError
from reflector_gpu.types import (
    SAMPLE_RATE,
    Recognition,
    Samples,
    Segment,
    TranscribeOptions,
    Word,
)

if TYPE_CHECKING:
    from onnx_asr.models.nemo import NemoConformerCtc, NemoConformerTdt

EUROPEAN = frozenset(
    "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()
)
"""The 25 languages of parakeet-tdt-0.6b-v3."""

_HOP_SECONDS = 0.01  # between two feature frames
_SHORTEST = SAMPLE_RATE // 10  # samples; the feature extractor fails on a few frames
_NOTHING = Recognition()

_PROVIDERS: Mapping[str, list[str]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}

ENGLISH_SPEC = TranscriberSpec(
    languages=frozenset({"en"}),
    max_chunk_seconds=30.0,
    max_gap_seconds=2.0,
    max_batch=32,
    devices=("cpu", "cuda", "tensorrt"),
)
EUROPEAN_SPEC = replace(ENGLISH_SPEC, languages=EUROPEAN)


ENGINE = "reflector_gpu.engines.parakeet:ParakeetTranscriber"


def _model(name: str, repository: str, megabytes: int, summary: str, *files: str) -> Model:
    return Model(
        name,
        ENGINE,
        EUROPEAN_SPEC if name.endswith("v3") else ENGLISH_SPEC,
        summary,
        "CC-BY-4.0",
        packages=("onnx_asr", "huggingface_hub"),
        extra="parakeet",
        weights=Weights(
            repository,
            (*files, "*.data", "vocab.txt", "config.json"),
            (*files, "vocab.txt", "config.json"),
            megabytes,
        ),
    )


_TDT_FILES = ("encoder-model.onnx", "decoder_joint-model.onnx")

MODELS = (
    _model(
        "nvidia/parakeet-tdt-0.6b-v2",
        "istupakov/parakeet-tdt-0.6b-v2-onnx",
        2480,
        "Parakeet TDT 0.6B, English, punctuated",
        *_TDT_FILES,
    ),
    _model(
        "nvidia/parakeet-tdt-0.6b-v3",
        "istupakov/parakeet-tdt-0.6b-v3-onnx",
        2550,
        "Parakeet TDT 0.6B, 25 European languages, punctuated",
        *_TDT_FILES,
    ),
    _model(
        "nvidia/parakeet-ctc-0.6b",
        "istupakov/parakeet-ctc-0.6b-onnx",
        2440,
        "Parakeet CTC 0.6B, English, lower case",
        "model.onnx",
    ),
)


_MULTILINGUAL_PIECES = 4096  # v2 has 1,024, v3 8,192


def local(name: str, folder: Path) -> Model | None:
    """The Parakeet in ``folder``, if there is one; the size of its vocabulary tells v2 from v3."""
    if not all((folder / file).is_file() for file in ("vocab.txt", "config.json")):
        return None
    pieces = len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    return Model(
        name,
        ENGINE,
        EUROPEAN_SPEC if pieces > _MULTILINGUAL_PIECES else ENGLISH_SPEC,
        "Parakeet from a local folder",
        "see the folder",
        packages=("onnx_asr",),
        extra="parakeet",
        arguments={"weights": str(folder)},
    )


class ParakeetTranscriber:
    """``weights`` is a folder in onnx-asr's form: NeMo's ONNX export, vocab.txt, config.json.

    ``quantization`` picks the files, ``int8`` for ``encoder-model.int8.onnx`` and so on.
    ``device`` is ``cpu``, ``cuda`` or ``tensorrt``.
    """

    def __init__(self, weights: str, device: str = "cpu", quantization: str = "") -> None:
        self._weights = Path(weights)
        self._device = device
        self._quantization = quantization or None
        self._head: _TdtHead | _CtcHead | None = None

    def load(self) -> None:
        try:
            import onnx_asr
            import onnxruntime
            from onnx_asr.models.nemo import NemoConformerCtc, NemoConformerTdt
        except ImportError as error:
            raise ModelNotInstalled(
                "Parakeet models need the extra 'parakeet': pip install 'reflector-gpu[parakeet]'"
            ) from error
        kind = _model_type(self._weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        adapter = onnx_asr.load_model(
            kind,
            self._weights,
            quantization=self._quantization,
            sess_options=options,
            providers=_PROVIDERS[self._device],
        )
        model = adapter.asr
        match model:
            case NemoConformerTdt():
                self._head = _TdtHead(model)
            case NemoConformerCtc():
                self._head = _CtcHead(model)
            case _:
                raise ModelNotInstalled(f"Models of type '{kind}' are not Parakeet TDT or CTC.")

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        assert self._head is not None, "load() comes first"
        results: list[Recognition | ReflectorError] = [_NOTHING] * len(chunks)
        usable: list[int] = []
        for index, samples in enumerate(chunks):
            try:
                check_samples(samples)
            except ReflectorError as error:
                results[index] = error
            else:
                if len(samples) >= _SHORTEST:
                    usable.append(index)
        if usable:
            batch = [chunks[index] for index in usable]
            for index, words in zip(usable, self._head.words(batch), strict=True):
                # v3 hears which of its languages is spoken, but does not tell.
                segments = (Segment.of(words),) if words else ()
                results[index] = Recognition(segments, options.language)
        return results

    def close(self) -> None:
        self._head = None


@dataclass(frozen=True, slots=True)
class _Token:
    """A piece of a word; a leading space begins a new one. Seconds."""

    text: str
    start: float
    end: float
    logprob: float


class _TdtHead:
    """Our decoder over the networks that onnx-asr has loaded.

    onnx-asr offers no public way to its networks; everything that relies on its inside is here
    and in `_CtcHead`, and the version is bounded in pyproject.
    """

    def __init__(self, model: NemoConformerTdt) -> None:
        self._model = model
        self._frame = model.window_step * model._subsampling_factor

    def words(self, batch: Sequence[Samples]) -> list[list[Word]]:
        model = self._model
        encoded, lengths = model._encode(*model._preprocessor(*_padded(batch)))
        first, second = (np.repeat(s, len(batch), axis=1) for s in model._create_state())
        decoded = tdt.greedy(
            encoded,
            np.minimum(lengths, encoded.shape[1]),
            self._joint,
            (first, second),
            vocabulary=model._vocab_size,
            blank=model._blank_idx,
            max_symbols=model._max_tokens_per_step,
        )
        return [_words(self._tokens(one)) for one in decoded]

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

    def _tokens(self, decoded: tdt.Decoded) -> Iterable[_Token]:
        vocabulary = self._model._vocab
        ends = decoded.frames + np.maximum(decoded.durations, 1)
        for token, start, end, logprob in zip(
            decoded.tokens, decoded.frames, ends, decoded.logprobs, strict=True
        ):
            text = vocabulary[int(token)]
            yield _Token(text, float(start) * self._frame, float(end) * self._frame, float(logprob))


class _CtcHead:
    """onnx-asr's own greedy CTC, which is batched; a token ends a frame after it begins."""

    def __init__(self, model: NemoConformerCtc) -> None:
        self._model = model
        self._frame = model.window_step * model._subsampling_factor

    def words(self, batch: Sequence[Samples]) -> list[list[Word]]:
        found = self._model.recognize_batch(*_padded(batch), need_logprobs=True)
        return [
            _words(
                _Token(text, start, start + self._frame, logprob)
                for text, start, logprob in zip(
                    one.tokens or (), one.timestamps or (), one.logprobs or (), strict=True
                )
            )
            for one in found
        ]


def _words(tokens: Iterable[_Token]) -> list[Word]:
    groups: list[list[_Token]] = []
    for token in tokens:
        if token.text.startswith(" ") or not groups:
            groups.append([])
        groups[-1].append(token)
    words: list[Word] = []
    for group in groups:
        text = "".join(token.text for token in group).strip()
        if text:
            mean = sum(token.logprob for token in group) / len(group)
            words.append(Word(text, group[0].start, group[-1].end, min(1.0, float(np.exp(mean)))))
    return words


def _padded(batch: Sequence[Samples]) -> tuple[Samples, tdt.Ints]:
    """``float32[b, longest]`` with zeros behind, and the lengths."""
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
