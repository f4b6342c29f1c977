"""Parakeet's way from waveforms to pieces on one device, pack after pack."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from transformers import ParakeetForCTC, ParakeetForTDT

from reflector_gpu.engines.recognition.parakeet import ctc
from reflector_gpu.engines.recognition.parakeet.phrases import boosts
from reflector_gpu.engines.recognition.parakeet.pytorch.encoder import FRAMES_AT_ONCE, Encoder
from reflector_gpu.engines.recognition.parakeet.pytorch.features import HOP, LogMel
from reflector_gpu.engines.recognition.parakeet.pytorch.looping import Decoder
from reflector_gpu.engines.recognition.parakeet.pytorch.packing import packed
from reflector_gpu.engines.recognition.parakeet.pytorch.running import (
    Encoding,
    RecordedDecoder,
    RecordedEncoder,
    Recorder,
    decode,
)
from reflector_gpu.engines.recognition.parakeet.pytorch.weights import Loaded
from reflector_gpu.engines.recognition.parakeet.tdt import Boosts, Decoded
from reflector_gpu.errors import EngineFailed, ModelNotInstalled
from reflector_gpu.types import SAMPLE_RATE, Samples

logger = logging.getLogger(__name__)

_OVERHEAD = {"cpu": 1.0, "cuda": 60.0}
"""Seconds of padding that cost about as much as another pack."""

_CONVOLVED = 5  # tensors as large as the output of the first convolution, at the same time
_BYTES_PER_CHANNEL = 2000
"""For a second of padded audio, in half precision, while the layers of the encoder have it.

In values: relative positions of attention and their copies 400, feed-forward layers 100, all others
100. That makes 1,200 bytes, and the rest is for what the allocator cannot use.
"""

Decoding: TypeAlias = Callable[[torch.Tensor, torch.Tensor, Boosts | None], list[Decoded]]
"""``(encoded[b, t, h], frames[b], phrases to expect) -> pieces``."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Items of a batch on the device: ``float32[b, samples]``, padded with zeros.

    They are there once ``arrived``; on CPUs there is nothing to wait for.
    """

    indices: list[int]
    waveforms: torch.Tensor
    lengths: torch.Tensor
    arrived: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Have what the device does next wait for this."""
        if self.arrived is None:
            return
        stream = torch.cuda.current_stream()
        stream.wait_event(self.arrived)
        for tensor in (self.waveforms, self.lengths):
            tensor.record_stream(stream)  # it is not freed while this stream needs it


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch on its way to the device, and the phrases to expect in it."""

    packs: list[Pack]
    boosts: Boosts | None

    @property
    def count(self) -> int:
        return sum(len(pack.indices) for pack in self.packs)


class Network:
    """The ``loaded`` model on ``device``, for chunks of up to ``longest_seconds``.

    ``record`` makes CUDA graphs of parts of it; without it they run as they are.

    Raises:
        ModelNotInstalled: the device is not there.
    """

    def __init__(
        self, loaded: Loaded, device: str, longest_seconds: float, record: Recorder | None = None
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ModelNotInstalled(
                "PyTorch cannot use the device 'cuda' here: it needs an NVIDIA driver, and a build "
                "of PyTorch for CUDA (https://pytorch.org/get-started/locally)."
            )
        model = loaded.model
        factor = model.config.encoder_config.subsampling_factor
        frames = int(longest_seconds * SAMPLE_RATE / HOP / factor) + 2
        encoder = Encoder(model, device, precision(device))
        self._device = device
        self._uploads = torch.cuda.Stream() if device == "cuda" else None
        self._encoder_config = model.config.encoder_config
        self.features = LogMel(model.config.encoder_config.num_mel_bins, device)
        self.encoder: Encoding = RecordedEncoder(encoder, record) if record else encoder
        self.decoder = _decoding(model, frames, record)
        self.seconds_per_frame = factor * HOP / SAMPLE_RATE
        self.vocabulary = loaded.vocabulary
        self._blank = _blank(model)

    @property
    def free_bytes(self) -> int | None:
        """See `budget.Memory`. What the first convolutions need is left out."""
        if self._device != "cuda":
            return None
        config = self._encoder_config
        values = config.subsampling_conv_channels * config.num_mel_bins // 4 * FRAMES_AT_ONCE
        taken: int = _CONVOLVED * values * precision(self._device).itemsize
        free: int = torch.cuda.mem_get_info()[0]
        return max(0, free - taken)

    @property
    def bytes_per_second(self) -> float:
        """See `budget.Memory`."""
        return float(_BYTES_PER_CHANNEL * self._encoder_config.hidden_size)

    def prepare(
        self, batch: Sequence[Samples], most_seconds: float, hotwords: Sequence[str] = ()
    ) -> Prepared:
        """Send ``batch`` to the device, in packs of ``most_seconds`` once these are padded.

        This may be done in another thread, while the device works on another batch.

        Raises:
            EngineFailed: the device has not enough memory.
        """
        overhead = _OVERHEAD[self._device] * SAMPLE_RATE
        packs = packed([len(one) for one in batch], most_seconds * SAMPLE_RATE, overhead)
        try:
            with _ending_if_broken():
                sent = [self.uploaded(batch, indices) for indices in packs]
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(len(batch)) from error
        return Prepared(sent, boosts(hotwords, self.vocabulary, self._blank))

    def decoded(self, prepared: Prepared) -> list[Decoded]:
        """What was said in each item of the batch.

        Raises:
            EngineFailed: the device has not enough memory.
        """
        try:
            with _ending_if_broken(), torch.inference_mode():
                return self._decoded(prepared)
        except torch.OutOfMemoryError:
            pass  # the error holds the tensors that were there; without it they can be freed
        if self._device == "cuda":
            torch.cuda.empty_cache()  # the pieces that are left may be enough for smaller packs
        raise _out_of_memory(prepared.count)

    def _decoded(self, prepared: Prepared) -> list[Decoded]:
        found: dict[int, Decoded] = {}
        for pack in prepared.packs:
            pack.wait()
            encoded = self.encoder(*self.features(pack.waveforms, pack.lengths))
            found.update(zip(pack.indices, self.decoder(*encoded, prepared.boosts), strict=True))
        return [found[index] for index in range(prepared.count)]

    def uploaded(self, batch: Sequence[Samples], indices: list[int]) -> Pack:
        """The items of ``batch`` with these ``indices``, on their way to the device.

        On CUDA they are copied from pinned memory in a stream of their own, beside the work there.
        """
        cuda = self._uploads is not None
        lengths = np.array([len(batch[index]) for index in indices], np.int64)
        shape = (len(indices), int(lengths.max()))
        waveforms = torch.zeros(shape, dtype=torch.float32, pin_memory=cuda)
        rows = waveforms.numpy()
        for row, index in enumerate(indices):
            rows[row, : lengths[row]] = batch[index]
        counts = torch.from_numpy(lengths)
        if self._uploads is None:
            return Pack(indices, waveforms, counts)
        with torch.cuda.stream(self._uploads):
            return Pack(
                indices,
                waveforms.to(self._device, non_blocking=True),
                counts.pin_memory().to(self._device, non_blocking=True),
                self._uploads.record_event(),
            )


@contextmanager
def _ending_if_broken() -> Iterator[None]:
    """End this process if the device fails in such a way that it does nothing for it any more.

    Raises:
        torch.OutOfMemoryError: memory has run out, of whichever kind.
        SystemExit: a new process may have more luck.
    """
    try:
        yield
    except torch.AcceleratorError as error:
        reason = str(error).partition("\n")[0]
        if "out of memory" in reason:  # pinned memory's, or a graph's
            raise torch.OutOfMemoryError(reason) from None
        logger.error("Parakeet ends, because its GPU failed: %s", reason)
        raise SystemExit(1) from error


def _out_of_memory(items: int) -> EngineFailed:
    return EngineFailed(f"Parakeet failed on a batch of {items}: the GPU has not enough memory.")


def precision(device: str) -> torch.dtype:
    """What the encoder computes in: half precision on GPUs, of the kind that the card has."""
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16


def _decoding(
    model: ParakeetForTDT | ParakeetForCTC, frames: int, record: Recorder | None
) -> Decoding:
    if isinstance(model, ParakeetForTDT):
        decoder = Decoder(model)
        if record:
            return RecordedDecoder(decoder, frames, record)
        return partial(decode, decoder)
    return partial(_decoded_ctc, blank=_blank(model))


def _blank(model: ParakeetForTDT | ParakeetForCTC) -> int:
    tdt = isinstance(model, ParakeetForTDT)
    blank: int = model.config.blank_token_id if tdt else model.config.pad_token_id
    return blank


def _decoded_ctc(
    logits: torch.Tensor, lengths: torch.Tensor, boosts: Boosts | None, *, blank: int
) -> list[Decoded]:
    """Only phrases need all logits on the host."""
    if boosts:
        logprobs = logits.log_softmax(dim=-1).cpu().numpy()
        return ctc.greedy(logprobs, lengths.cpu().numpy(), blank, boosts)
    best, tokens = logits.max(dim=-1)
    likely = (best - logits.logsumexp(dim=-1)).cpu().numpy()
    return ctc.collapsed(tokens.cpu().numpy(), likely, lengths.cpu().numpy(), blank)
