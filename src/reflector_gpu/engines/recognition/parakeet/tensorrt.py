"""Parakeet by fast-gpu-asr, which builds TensorRT engines of it on the card that is to run them.

Nobody has run this on a card here. It keeps to the interface that fast-gpu-asr 0.2 documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.recognition.parakeet.pieces import recognised
from reflector_gpu.errors import EngineFailed, ModelNotInstalled, ReflectorError
from reflector_gpu.types import Recognition, Samples, TranscribeOptions, Word

if TYPE_CHECKING:
    from fast_gpu_asr import ASR

FILES = ("model_config.yaml", "parakeet.trt", "bpe.model")
"""What `fast-gpu-asr-export-parakeet` writes, for TDT and CTC."""


class TensorrtParakeet:
    """``weights`` is a folder that `fast-gpu-asr-export-parakeet` has written.

    Its words have no tokens, and phrases to expect change nothing.
    """

    def __init__(self, weights: str) -> None:
        self._weights = Path(weights)
        self._asr: ASR | None = None

    def load(self) -> None:
        with needs_extra("Parakeet models for TensorRT", "tensorrt"):
            from fast_gpu_asr import ASR
        try:
            self._asr = ASR(self._weights)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelNotInstalled(
                f"The TensorRT engines of this Parakeet model do not load ({reason}); export it "
                "again, on this card and with this version of TensorRT."
            ) from error

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, as `Recogniser` says.

        Raises:
            EngineFailed: the card failed, or a chunk is longer than the engines were built for.
        """
        return recognised(chunks, options, self._listen)

    def close(self) -> None:
        self._asr = None

    def _listen(self, batch: Sequence[Samples], _: Sequence[str]) -> Iterator[list[Word]]:
        assert self._asr is not None, "load() comes first"
        size = self._asr.encoder.batch_size
        # Sorted, because a part is padded to its longest.
        order = sorted(range(len(batch)), key=lambda index: -len(batch[index]))
        found: dict[int, list[Word]] = {}
        for first in range(0, len(order), size):
            part = order[first : first + size]
            try:
                _, words = self._asr([batch[index] for index in part])
            except (RuntimeError, ValueError, MemoryError) as error:
                raise EngineFailed(f"Parakeet failed on a batch of {len(part)}: {error}") from error
            for index, spoken in zip(part, words, strict=True):
                found[index] = [Word(text, start, end) for text, start, end in spoken]
        return (found[index] for index in range(len(batch)))
