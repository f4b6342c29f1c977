"""NVIDIA Parakeet on PyTorch: everything from the features to the tokens runs on one device.

transformers defines the encoder. On CUDA it computes in half precision, and decoding runs as CUDA
graphs; on CPUs the same code computes in float32 without graphs, and its words are those of the
engine on ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.recognition.parakeet.models import TORCH_SPEC
from reflector_gpu.engines.recognition.parakeet.pieces import pieces_of, recognised, words_of
from reflector_gpu.engines.recognition.parakeet.pytorch.budget import Budget
from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.types import Recognition, Samples, TranscribeOptions, Word

if TYPE_CHECKING:
    from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network


class TorchParakeet:
    """``weights`` is a folder in transformers' form, or one with an archive of NeMo (``.nemo``).

    ``device`` is ``cpu`` or ``cuda``.
    """

    def __init__(self, weights: str, device: str = "cpu") -> None:
        self._weights = Path(weights)
        self._device = device
        self._loaded: tuple[Network, Budget] | None = None

    def load(self) -> None:
        with needs_extra("Parakeet models on PyTorch", "torch"):
            from reflector_gpu.engines.recognition.parakeet.pytorch import running, weights
            from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network
        record = running.CudaGraphs() if self._device == "cuda" else None
        longest = TORCH_SPEC.max_chunk_seconds + 1
        network = Network(weights.load(self._weights), self._device, longest, record)
        self._loaded = network, Budget(network, TORCH_SPEC.max_batch_seconds)

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, as `Recogniser` says.

        Raises:
            EngineFailed: the device has no memory for so many chunks at once.
        """
        return recognised(chunks, options, self._listen)

    def close(self) -> None:
        self._loaded = None

    def _listen(self, batch: Sequence[Samples], hotwords: Sequence[str]) -> Iterator[list[Word]]:
        assert self._loaded is not None, "load() comes first"
        network, budget = self._loaded
        try:
            found = network.decoded(batch, budget.seconds, hotwords)
        except EngineFailed:
            if not budget.halve():
                raise
            found = network.decoded(batch, budget.seconds, hotwords)
        for one in found:
            yield words_of(pieces_of(one, network.vocabulary, network.seconds_per_frame))
