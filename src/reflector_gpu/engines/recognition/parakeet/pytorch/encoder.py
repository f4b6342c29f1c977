"""transformers' FastConformer, made ready for decoding alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear
from transformers import ParakeetForCTC, ParakeetForTDT

FRAMES_AT_ONCE = 24_000
"""The frames of features that the first convolutions see at once: four minutes.

Theirs are by far the largest tensors. A batch need not have room for them all at the same time, nor
may it: cuDNN and PyTorch count elements in 32 bits, which is not enough for 131,000 frames.
"""

_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Without cuDNN's, which PyTorch prefers on Hopper, and which plans for half a second whenever the
longest chunk of a pack has a new length."""

Projection: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class Encoder:
    """The encoder of ``model``, in ``dtype``; its output is projected, in float32.

    That is what a transducer adds to its predictions, or the logits of a CTC head.
    """

    def __init__(
        self, model: ParakeetForTDT | ParakeetForCTC, device: str, dtype: torch.dtype
    ) -> None:
        self._encoder = model.encoder
        self._dtype = dtype
        model.to(device)
        self._project = _projection(model)
        _share_positions(self._encoder)
        self._encoder.to(dtype)

    def __call__(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``float32[b, t, h]`` of ``features[b, frames, bands]``, and how many of ``t`` count."""
        encoder = self._encoder
        hidden = self._subsampled(features.to(self._dtype), mask) * encoder.input_scale
        positions = encoder.encode_positions(hidden)
        factor = encoder.config.subsampling_factor
        lengths = (mask.sum(-1) + factor - 1) // factor
        # Padding sees the sound, too, and a row of padding its first frame. Some kernels give NaN
        # for a frame that sees nothing, and the next layer has that in every frame of the row.
        frames = torch.arange(hidden.shape[1], device=hidden.device)
        seen = (frames < lengths.clamp(min=1)[:, None])[:, None, None]
        with sdpa_kernel(_ATTENTION):
            for layer in encoder.layers:
                hidden = layer(hidden, attention_mask=seen, position_embeddings=positions)
        return self._project(hidden.float()), lengths

    def _subsampled(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The fewer frames that the layers see."""
        rows = max(1, FRAMES_AT_ONCE // features.shape[1])
        parts = zip(features.split(rows), mask.split(rows), strict=True)
        return torch.cat([self._encoder.subsampling(*part) for part in parts])


def _projection(
    model: ParakeetForTDT | ParakeetForCTC,
) -> Projection:
    if isinstance(model, ParakeetForTDT):
        projector: Projection = model.encoder_projector
        return projector
    # A convolution over one frame. Left as such, cuDNN would compute it in TF32.
    head = model.ctc_head
    project: Projection = partial(linear, weight=head.weight[:, :, 0], bias=head.bias)
    return project


def _share_positions(encoder: torch.nn.Module) -> None:
    """Compute what depends on positions alone once for a batch instead of once for each row.

    The result is the same. That saves about a tenth of the encoder's arithmetic. It also keeps the
    frequencies in float32, which the encoder's own type may not be.
    """
    table = encoder.encode_positions
    frequencies = table.inv_freq.float().clone()

    def positions(hidden: torch.Tensor) -> torch.Tensor:
        length = hidden.shape[1]
        steps = torch.arange(length - 1, -length, -1, device=hidden.device).float()
        angles = steps[:, None] * frequencies
        both = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return both.to(hidden.dtype).expand(len(hidden), -1, -1)

    table.forward = positions
    for layer in encoder.layers:
        projection = layer.self_attn.relative_k_proj
        projection.forward = _of_first_row(projection)


def _of_first_row(projection: torch.nn.Linear) -> object:
    def forward(rows: torch.Tensor) -> torch.Tensor:
        first = torch.nn.functional.linear(rows[:1], projection.weight, projection.bias)
        return first.expand(len(rows), -1, -1)

    return forward
