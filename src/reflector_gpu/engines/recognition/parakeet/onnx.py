"""NVIDIA Parakeet on ONNX Runtime: FastConformer with a TDT or a CTC head, batched.

onnx-asr loads the files (NeMo's own export) and computes the features. Its transducer loop takes
one Python step for one utterance at a time, so `tdt` replaces it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reflector_gpu.engines.accelerators import check_session, onnx_failures, onnx_providers
from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.recognition.parakeet import ctc, tdt
from reflector_gpu.engines.recognition.parakeet.bound import BoundCtc, BoundTdt
from reflector_gpu.engines.recognition.parakeet.models import ENGLISH_SPEC
from reflector_gpu.engines.recognition.parakeet.phrases import boosts
from reflector_gpu.engines.recognition.parakeet.pieces import (
    padded,
    pieces_of,
    recognised,
    words_of,
)
from reflector_gpu.errors import EngineFailed, ModelNotInstalled, ReflectorError
from reflector_gpu.types import Recognition, Samples, TranscribeOptions, Word

if TYPE_CHECKING:
    from onnx_asr.models.nemo import NemoConformerCtc, NemoConformerTdt
    from onnxruntime import InferenceSession


class ParakeetRecogniser:
    """``weights`` is a folder in onnx-asr's form: NeMo's ONNX export, vocab.txt, config.json.

    ``quantization`` picks the files, ``int8`` for ``encoder-model.int8.onnx`` and so on.
    ``device`` is ``cpu``, ``cuda`` or ``tensorrt``. On GPUs, files in ``fp16`` are preferred.
    """

    def __init__(self, weights: str, device: str = "cpu", quantization: str = "") -> None:
        self._weights = Path(weights)
        self._device = device
        self._quantization = quantization or None
        self._head: TdtHead | CtcHead | None = None

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
                quantization=self._quantization or preferred(self._weights, self._device),
                sess_options=options,
                providers=onnx_providers(self._device, longest, ENGLISH_SPEC.max_batch),
            )
        except ModelLoadingError as error:
            precision = f" in {self._quantization}" if self._quantization else ""
            raise ModelNotInstalled(
                f"The folder of this Parakeet model has not all files of a {kind}{precision}."
            ) from error
        model = adapter.asr
        bound_to = None if self._device == "cpu" else "cuda"
        match model:
            case NemoConformerTdt():
                check_session(model._encoder, self._device)
                self._head = TdtHead(model, bound_to)
            case NemoConformerCtc():
                check_session(model._model, self._device)
                self._head = CtcHead(model, bound_to)
            case _:
                raise ModelNotInstalled(f"Models of type '{kind}' are not Parakeet TDT or CTC.")

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, as `Recogniser` says.

        Raises:
            EngineFailed: the device has no memory for so many chunks at once.
        """
        return recognised(chunks, options, self._listen)

    def close(self) -> None:
        self._head = None

    def _listen(self, batch: Sequence[Samples], hotwords: Sequence[str]) -> Iterator[list[Word]]:
        alone = self._quantization is not None  # see `models`
        for part in [[samples] for samples in batch] if alone else [batch]:
            yield from self._words(part, hotwords)

    def _words(self, batch: Sequence[Samples], hotwords: Sequence[str]) -> list[list[Word]]:
        assert self._head is not None, "load() comes first"
        try:
            return self._head.words(batch, hotwords)
        except onnx_failures() as error:
            reason = str(error).partition("\n")[0]
            raise EngineFailed(f"Parakeet failed on a batch of {len(batch)}: {reason}") from error


class TdtHead:
    """Our decoder over the networks that onnx-asr has loaded.

    onnx-asr has no public access to its networks. Only this file and `bound` rely on its internals,
    and pyproject bounds its version.
    """

    def __init__(self, model: NemoConformerTdt, bound_to: str | None = None) -> None:
        """``bound_to``: where tensors stay between calls of the networks, if not on the host."""
        self._model = model
        self._frame = model.window_step * model._subsampling_factor
        self._vocabulary = _vocabulary(model)
        model._decoder_joint = _batching(model)
        self._bound = BoundTdt(model, bound_to) if bound_to else None

    def words(self, batch: Sequence[Samples], hotwords: Sequence[str] = ()) -> list[list[Word]]:
        model = self._model
        features = model._preprocessor(*padded(batch))
        if self._bound is None:
            found = self.decode(*model._encode(*features), hotwords)
        else:
            raised = boosts(hotwords, self._vocabulary, model._blank_idx)
            found = self._bound.decode(*self._bound.encoded(*features), raised)
        return [words_of(pieces_of(one, self._vocabulary, self._frame)) for one in found]

    def decode(
        self, encoded: tdt.Floats, lengths: tdt.Ints, hotwords: Sequence[str] = ()
    ) -> list[tdt.Decoded]:
        """The pieces in ``encoded``, ``float32[b, t, d]`` of which ``lengths[b]`` frames count.

        Without ``hotwords``, tokens and frames are those of onnx-asr's own loop.
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
            boosts=boosts(hotwords, self._vocabulary, model._blank_idx),
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


class CtcHead:
    """Our greedy CTC over the network that onnx-asr has loaded."""

    def __init__(self, model: NemoConformerCtc, bound_to: str | None = None) -> None:
        """``bound_to``: where tensors stay between calls of the networks, if not on the host."""
        self._model = model
        self._frame = model.window_step * model._subsampling_factor
        self._vocabulary = _vocabulary(model)
        self._bound = BoundCtc(model, bound_to) if bound_to else None

    def words(self, batch: Sequence[Samples], hotwords: Sequence[str] = ()) -> list[list[Word]]:
        model = self._model
        features = model._preprocessor(*padded(batch))
        if self._bound is not None and not hotwords:
            found = self._bound.decode(*features)
        else:
            logprobs, lengths = model._encode(*features)
            raised = boosts(hotwords, self._vocabulary, model._blank_idx)
            found = ctc.greedy(logprobs, lengths, model._blank_idx, raised)
        return [words_of(pieces_of(one, self._vocabulary, self._frame)) for one in found]


def preferred(weights: Path, device: str) -> str | None:
    """The precision of the files to load: that of half of the memory, if a GPU can have it."""
    whole = ({"encoder-model", "decoder_joint-model"}, {"model"})
    halves = {path.name.removesuffix(".fp16.onnx") for path in weights.glob("*.fp16.onnx")}
    return "fp16" if device != "cpu" and any(names <= halves for names in whole) else None


def _vocabulary(model: NemoConformerTdt | NemoConformerCtc) -> list[str]:
    """The text of each piece by its number."""
    return [model._vocab[index] for index in range(model._vocab_size)]


def _model_type(weights: Path) -> str:
    try:
        config = json.loads((weights / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelNotInstalled(
            "The folder of this Parakeet model has no readable config.json; pull the model again."
        ) from error
    return str(config.get("model_type", "nemo-conformer-tdt"))
