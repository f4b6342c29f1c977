"""NVIDIA Parakeet on PyTorch: everything from the features to the tokens runs on one device.

transformers defines the encoder. On CUDA it computes in half precision, and decoding runs as CUDA
graphs; on CPUs the same code computes in float32 without graphs, and its words are those of the
engine on ONNX Runtime.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.recognition.parakeet.models import TORCH_SPEC
from reflector_gpu.engines.recognition.parakeet.pieces import (
    pieces_of,
    readable,
    recognition,
    words_of,
)
from reflector_gpu.engines.recognition.parakeet.pytorch.budget import Budget
from reflector_gpu.engines.recognition.parakeet.tdt import Decoded
from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.types import SAMPLE_RATE, Recognition, Samples, TranscribeOptions

if TYPE_CHECKING:
    from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network


class TorchParakeet:
    """``weights`` is a folder in transformers' form, or one with an archive of NeMo (``.nemo``).

    ``device`` is ``cpu`` or ``cuda``. It is a `runtime.preparing.Preparing`, too.
    """

    def __init__(self, weights: str, device: str = "cpu") -> None:
        self._weights = Path(weights)
        self._device = device
        self._loaded: Loaded | None = None

    def load(self) -> None:
        with needs_extra("Parakeet models on PyTorch", "torch"):
            from reflector_gpu.engines.recognition.parakeet.pytorch import running, weights
            from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network
        record = running.CudaGraphs() if self._device == "cuda" else None
        longest = TORCH_SPEC.max_chunk_seconds + 1
        network = Network(weights.load(self._weights), self._device, longest, record)
        # Libraries set themselves up and the first graphs are recorded before anybody waits.
        network.decoded(network.prepare([np.zeros(SAMPLE_RATE, np.float32)], longest))
        self._loaded = Loaded.of(network, Budget(network, TORCH_SPEC.max_batch_seconds))

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, as `Recogniser` says.

        Raises:
            EngineFailed: the device has no memory for so many chunks at once.
        """
        return list(self.prepare(chunks, options)())

    def prepare(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Callable[[], Iterator[Recognition | ReflectorError]]:
        """Send ``chunks`` to the device. What this returns does the work there, and then words are
        made while its results are read.

        Raises:
            EngineFailed: the device has no memory for so many chunks at once. The work may raise it
                as well.
        """
        assert self._loaded is not None, "load() comes first"
        loaded = self._loaded
        items = readable(chunks)
        batch = [item for item in items if isinstance(item, np.ndarray)]
        decoded = loaded.prepare(batch, options.hotwords)

        def work() -> Iterator[Recognition | ReflectorError]:
            heard = loaded.heard(decoded(), batch, options.language)
            return (next(heard) if isinstance(item, np.ndarray) else item for item in items)

        return work

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.threads.shutdown()
        self._loaded = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The network, what fits its device, and the threads that make words."""

    network: Network
    budget: Budget
    threads: ThreadPoolExecutor

    @classmethod
    def of(cls, network: Network, budget: Budget) -> Loaded:
        threads = int(os.environ.get("OMP_NUM_THREADS", "4"))
        return cls(network, budget, ThreadPoolExecutor(threads, thread_name_prefix="words"))

    def prepare(
        self, batch: Sequence[Samples], hotwords: Sequence[str]
    ) -> Callable[[], list[Decoded]]:
        """Send ``batch`` to the device. What this returns decodes it there, in smaller packs if the
        memory runs out for the first time."""
        network, seconds = self.network, self.budget.seconds
        prepared = network.prepare(batch, seconds, hotwords)

        def decoded() -> list[Decoded]:
            try:
                return network.decoded(prepared)
            except EngineFailed:
                halved_meanwhile = self.budget.seconds < seconds
                if not halved_meanwhile and not self.budget.halve():
                    raise
            return network.decoded(network.prepare(batch, self.budget.seconds, hotwords))

        return decoded

    def heard(
        self, found: Sequence[Decoded], batch: Sequence[Samples], language: str | None
    ) -> Iterator[Recognition]:
        """What was said in each of ``batch``.

        To check words against the sound takes 10 ms for 30 s of it, mostly in NumPy, so that
        threads share the work.
        """
        network = self.network

        def heard(one: Decoded, samples: Samples) -> Recognition:
            pieces = pieces_of(one, network.vocabulary, network.seconds_per_frame)
            return recognition(words_of(pieces), samples, language)

        return self.threads.map(heard, found, batch)
