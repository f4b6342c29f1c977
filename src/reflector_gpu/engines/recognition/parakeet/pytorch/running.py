"""Runs blocks of decoding until all rows have ended: one by one, or as CUDA graphs."""

from __future__ import annotations

import logging
from dataclasses import fields, replace

import torch

from reflector_gpu.engines.recognition.parakeet.pytorch.looping import Decoder, State, read
from reflector_gpu.engines.recognition.parakeet.tdt import Decoded

logger = logging.getLogger(__name__)


def decode(decoder: Decoder, encoded: torch.Tensor, ends: torch.Tensor) -> list[Decoded]:
    """Decode ``encoded[b, t, h]``, of which ``ends[b]`` frames count, without CUDA graphs."""
    state, found = decoder.start(ends), decoder.room(len(encoded), encoded.shape[1])
    while not bool(state.finished):
        state = decoder.block(encoded, state, found)
    return read(found, state.count)


class GraphDecoding:
    """`decode` by CUDA graphs, one for each size of a batch.

    A graph works on tensors of its own, for batches of up to ``rows`` and ``frames``. The host
    launches a block before it knows whether the one before has ended all rows, so that the device
    never waits for it. A block that comes after the end changes nothing.
    """

    def __init__(self, decoder: Decoder, frames: int) -> None:
        self._decoder = decoder
        self._frames = frames
        self._graphs: dict[int, _Graph] = {}

    def __call__(self, encoded: torch.Tensor, ends: torch.Tensor) -> list[Decoded]:
        rows = len(encoded)
        size = 1 << (rows - 1).bit_length()
        if encoded.shape[1] > self._frames:
            return decode(self._decoder, encoded, ends)
        if size not in self._graphs:
            shape = (size, self._frames, encoded.shape[2])
            self._graphs[size] = _Graph(self._decoder, encoded.new_zeros(shape))
        return self._graphs[size].decode(encoded, ends)[:rows]


class _Graph:
    def __init__(self, decoder: Decoder, encoded: torch.Tensor) -> None:
        self._decoder = decoder
        self._encoded = encoded
        self._ends = torch.zeros(len(encoded), dtype=torch.long, device=encoded.device)
        self._state = _copied(decoder.start(self._ends))
        self._found = decoder.room(len(encoded), encoded.shape[1])
        self._finished = torch.zeros((), dtype=torch.bool, device=encoded.device)
        self._graph = self._captured()

    def decode(self, encoded: torch.Tensor, ends: torch.Tensor) -> list[Decoded]:
        rows, frames = encoded.shape[:2]
        self._encoded[:rows, :frames] = encoded
        self._ends.zero_()
        self._ends[:rows] = ends
        self._state.copy_(self._decoder.start(self._ends))
        flags = torch.zeros(2, dtype=torch.bool, pin_memory=True)
        events = [torch.cuda.Event(), torch.cuda.Event()]
        number = 0
        while True:
            self._graph.replay()
            flags[number % 2].copy_(self._finished, non_blocking=True)
            events[number % 2].record()
            if number:
                events[1 - number % 2].synchronize()
                if bool(flags[1 - number % 2]):
                    break
            number += 1
        return read(self._found, self._state.count)

    def _block(self) -> None:
        self._state.copy_(self._decoder.block(self._encoded, self._state, self._found))
        self._finished.copy_(self._state.finished)

    def _captured(self) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up, which no graph may hold
            for _ in range(2):
                self._block()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._block()
        return graph


def _copied(state: State) -> State:
    """``state`` with tensors of its own."""
    return replace(state, **{one.name: getattr(state, one.name).clone() for one in fields(state)})
