"""What CUDA graphs would record asks the host nothing, and touches nothing but the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.gpu_model import random_model
from reflector_gpu.engines.recognition.parakeet.pytorch.looping import Decoder
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network

ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "equal")
"""Operators that make the host wait for the device, or whose result has a shape of its own."""


class Watched(TorchDispatchMode):  # type: ignore[misc]  # mypy does not read PyTorch
    """Notes each operator that asks the device, or has a tensor on another than ``device``."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, torch.Tensor)]
        elsewhere = any(one.device.type != self._device for one in tensors)
        if elsewhere or any(f"aten.{one}" in str(func) for one in ASKING):
            self.found.append(str(func))
        return out


@pytest.fixture(autouse=True)
def on_hopper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_nothing_leaves_the_device_and_nothing_is_asked(device: str) -> None:
    """On the device ``meta`` there are no values, as little as while a graph is recorded."""
    loaded = random_model(small=True)
    network, decoder = Network(loaded, device, 31.0), Decoder(loaded.model)
    waveforms = torch.zeros(3, 80_000, device=device)
    lengths = torch.full((3,), 80_000, device=device)
    with Watched(device) as watched:
        encoded, ends = network.encoder(*network.features(waveforms, lengths))
        state, room = decoder.start(ends), decoder.room(3, encoded.shape[1])
        after = decoder.block(encoded, state, room)
        most = after.most
    assert watched.found == []
    assert (encoded.dtype, most.device.type) == (torch.float32, device)
    state.copy_(after)  # shapes and types are the same


def test_the_test_would_see_it() -> None:
    with Watched("cpu") as watched:
        bool(torch.ones(()))
        torch.ones(2).to("meta")
    assert len(watched.found) == 2
