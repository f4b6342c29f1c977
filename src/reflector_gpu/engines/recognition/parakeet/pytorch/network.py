"""Parakeet's way from waveforms to pieces on one device, pack after pack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from transformers import ParakeetForCTC, ParakeetForTDT

from reflector_gpu.engines.recognition.parakeet import ctc
from reflector_gpu.engines.recognition.parakeet.phrases import boosts
from reflector_gpu.engines.recognition.parakeet.pytorch.encoder import Encoder
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

_OVERHEAD = {"cpu": 1.0, "cuda": 60.0}
"""Seconds of padding that cost about as much as another pack."""

_LIVE_TENSORS = 5  # of the first convolution's size at once, attention counted in

Decoding: TypeAlias = Callable[[torch.Tensor, torch.Tensor, Boosts | None], list[Decoded]]
"""``(encoded[b, t, h], frames[b], phrases to expect) -> pieces``."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Items of a batch on the device: ``float32[b, samples]``, padded with zeros."""

    indices: list[int]
    waveforms: torch.Tensor
    lengths: torch.Tensor


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
        self._encoder_config = model.config.encoder_config
        self.features = LogMel(model.config.encoder_config.num_mel_bins, device)
        self.encoder: Encoding = RecordedEncoder(encoder, record) if record else encoder
        self.decoder = _decoding(model, frames, record)
        self.seconds_per_frame = factor * HOP / SAMPLE_RATE
        self.vocabulary = loaded.vocabulary
        self._blank = _blank(model)

    @property
    def free_bytes(self) -> int | None:
        """See `budget.Memory`."""
        return torch.cuda.mem_get_info()[0] if self._device == "cuda" else None

    @property
    def bytes_per_second(self) -> float:
        """See `budget.Memory`. Most goes to a few tensors as large as the first convolution's."""
        config = self._encoder_config
        values = config.subsampling_conv_channels * config.num_mel_bins / 2 * 50
        return float(_LIVE_TENSORS * values * precision(self._device).itemsize)

    def decoded(
        self, batch: Sequence[Samples], most_seconds: float, hotwords: Sequence[str] = ()
    ) -> list[Decoded]:
        """What was said in each of ``batch``. A pack has ``most_seconds`` once it is padded.

        While the device encodes one pack, the next is copied to it.

        Raises:
            EngineFailed: the device has not enough memory.
        """
        overhead = _OVERHEAD[self._device] * SAMPLE_RATE
        packs = packed([len(one) for one in batch], most_seconds * SAMPLE_RATE, overhead)
        raised = boosts(hotwords, self.vocabulary, self._blank)
        found: dict[int, Decoded] = {}
        try:
            with torch.inference_mode():
                uploads = self.uploaded(batch, packs)
                pack = next(uploads, None)
                while pack is not None:
                    encoded = self.encoder(*self.features(pack.waveforms, pack.lengths))
                    after = next(uploads, None)
                    found.update(zip(pack.indices, self.decoder(*encoded, raised), strict=True))
                    pack = after
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()  # the pieces that are left may be enough for smaller packs
            raise EngineFailed(
                f"Parakeet failed on a batch of {len(batch)}: the GPU has not enough memory."
            ) from error
        return [found[index] for index in range(len(batch))]

    def uploaded(self, batch: Sequence[Samples], packs: list[list[int]]) -> Iterator[Pack]:
        """Each pack on the device. On CUDA, nothing waits for its copy but what needs it."""
        pinned = self._device == "cuda"
        for indices in packs:
            lengths = np.array([len(batch[index]) for index in indices], np.int64)
            shape = (len(indices), int(lengths.max()))
            waveforms = torch.zeros(shape, dtype=torch.float32, pin_memory=pinned)
            rows = waveforms.numpy()
            for row, index in enumerate(indices):
                rows[row, : lengths[row]] = batch[index]
            yield Pack(
                indices,
                waveforms.to(self._device, non_blocking=pinned),
                torch.from_numpy(lengths).to(self._device),
            )


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
