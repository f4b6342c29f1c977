"""The encoder keeps within what kernels for CUDA can do, and gives the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.gpu_model import clips_of, random_model
from reflector_gpu.engines.recognition.parakeet.pieces import padded
from reflector_gpu.engines.recognition.parakeet.pytorch import encoder
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network

NOTHING = np.zeros(0, np.float32)


@pytest.fixture(autouse=True)
def without_gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    with torch.inference_mode():
        yield


class Largest(TorchDispatchMode):  # type: ignore[misc]  # mypy does not read PyTorch
    """Notes how many elements the largest tensor has."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self.elements = max(self.elements, one.numel())
        return out


def test_elements_of_the_largest_batch_are_counted_in_32_bits() -> None:
    """cuDNN and the kernels for depthwise convolutions can not count further."""
    with torch.device("meta"):
        loaded = random_model(small=False, layers=2)
    network = Network(loaded, "meta", 31.0)
    samples = torch.zeros(256, 31 * 16_000, device="meta")
    with Largest() as largest:
        features = network.features(samples, torch.zeros(256, dtype=torch.long, device="meta"))
        encoded, _ = network.encoder(*features)
    assert encoded.shape[0] == 256
    assert 10**8 < largest.elements < 2**31


@pytest.fixture
def small() -> Network:
    return Network(random_model(small=True), "cpu", 31.0)


def encoded(network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    clips = [clips_of(1, seconds)[0] for seconds in (3.0, 0.4, 2.0, 1.0, 2.5)]
    waveforms, lengths = (torch.from_numpy(one) for one in padded([*clips, NOTHING]))
    found: tuple[torch.Tensor, torch.Tensor] = network.encoder(
        *network.features(waveforms, lengths)
    )
    return found


def counted(found: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    outputs, lengths = found
    return outputs[torch.arange(outputs.shape[1]) < lengths[:, None]]


def test_a_few_rows_at_a_time_give_the_same(
    small: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = counted(encoded(small))
    for frames in (1, 600, 1000):
        monkeypatch.setattr(encoder, "FRAMES_AT_ONCE", frames)
        torch.testing.assert_close(counted(encoded(small)), known)


def test_kernels_that_give_nan_where_a_frame_sees_nothing_do_no_harm(
    small: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = encoded(small)
    attention = torch.nn.functional.scaled_dot_product_attention
    by_cudnn: list[bool] = []

    def attention_on_cuda(*args: Any, attn_mask: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        by_cudnn.append(torch.backends.cuda.cudnn_sdp_enabled())
        found = attention(*args, attn_mask=attn_mask, **kwargs)
        blind = attn_mask.amax(dim=-1, keepdim=True) < -1e30
        return found.masked_fill(blind, torch.nan)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention_on_cuda)
    found = encoded(small)
    assert torch.isfinite(found[0]).all()
    torch.testing.assert_close(counted(found), counted(known))
    assert by_cudnn
    assert not any(by_cudnn)
