"""Runs the encoder and the decoder: as they are, or recorded as CUDA graphs.

A graph repeats a series of kernels without the host, on the same memory each time. So there is one
for each of a few shapes, with tensors of its own, into which a batch is copied. The part of a
tensor that a batch does not fill counts as padding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import torch

from reflector_gpu.engines.recognition.parakeet.pytorch.looping import (
    Decoder,
    DeviceBoosts,
    State,
    read,
)
from reflector_gpu.engines.recognition.parakeet.tdt import Boosts, Decoded

logger = logging.getLogger(__name__)

Work: TypeAlias = Callable[[], None]

Recorder: TypeAlias = Callable[[Work], Work]
"""Makes of work on tensors something that repeats it: a `CudaGraphs`, or the work itself."""

Encoding: TypeAlias = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""``(features[b, frames, bands], mask[b, frames]) -> (encoded[b, t, h], lengths[b])``."""

_BUCKET = 500  # frames of features: graphs of the encoder are for multiples of five seconds
_GRAPHED = 6_000  # frames of features in all: a larger batch keeps the device busy by itself


class CudaGraphs:
    """Records work as CUDA graphs.

    They share their memory: no two run at once, and none leaves results there. They share a stream,
    too: cuBLAS keeps 32 MB for each stream that it has been used in.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None
        self._pool: tuple[int, int] | None = None
        self._failed = False

    def __call__(self, work: Work) -> Work:
        """``work`` as a graph. If it cannot be one, it stays as it is, and the log says so."""
        if self._failed:
            return work
        self._stream = self._stream or torch.cuda.Stream()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        try:
            _rehearse(work, self._stream)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            return _unrecorded(work, error)
        graph = torch.cuda.CUDAGraph()
        try:
            # Another thread may allocate memory for the next batch, which the default forbids.
            mode = "thread_local"
            # The outer block goes back to this stream, which the inner one forgets if it fails.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode=mode),
            ):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # an operator that this version cannot record
            self._failed = True  # before 2.13, PyTorch loses memory whenever it fails to record
            # Leaving the block fails as well then, and says less.
            return _unrecorded(work, error.__context__ or error)
        replay: Work = graph.replay
        return replay


def _rehearse(work: Work, stream: torch.cuda.Stream) -> None:
    """Do ``work`` twice: libraries set themselves up, which no graph may hold, and then it is seen
    whether the host waits for the device.

    Raises:
        RuntimeError: it does. Finding that out while recording would leave PyTorch in disorder.
    """
    before = torch.cuda.current_stream()
    stream.wait_stream(before)
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with torch.cuda.stream(stream):
            work()
            torch.cuda.set_sync_debug_mode("error")
            work()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
        before.wait_stream(stream)


def _unrecorded(work: Work, error: BaseException) -> Work:
    reason = str(error).partition("\n")[0]
    logger.warning("Parakeet runs without CUDA graphs, and so more slowly: %s", reason)
    return work


def decode(
    decoder: Decoder, encoded: torch.Tensor, ends: torch.Tensor, boosts: Boosts | None = None
) -> list[Decoded]:
    """Decode ``encoded[b, t, h]``, of which ``ends[b]`` frames count, without graphs."""
    raised = DeviceBoosts(boosts, encoded.device) if boosts else None
    state, found = decoder.start(ends), decoder.room(len(encoded), encoded.shape[1])
    while (most := int(state.most)) < 0:
        state = decoder.block(encoded, state, found, raised)
    return read(found, most)


class RecordedEncoder:
    """``encoder`` for small batches by graphs: launching its kernels would take longer than they
    do. What it gives is valid until the next call."""

    def __init__(self, encoder: Encoding, record: Recorder) -> None:
        self._encoder = encoder
        self._record = record
        self._graphs: dict[tuple[int, int], _EncoderGraph] = {}

    def __call__(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows, frames = mask.shape
        shape = _power_of_two(rows), -(-frames // _BUCKET) * _BUCKET
        if shape[0] * shape[1] > _GRAPHED:
            return self._encoder(features, mask)
        if shape not in self._graphs:
            empty = features.new_zeros(*shape, features.shape[2])
            self._graphs[shape] = _EncoderGraph.of(self._encoder, empty, self._record)
        graph = self._graphs[shape]
        graph.features.zero_()[:rows, :frames] = features
        graph.mask.zero_()[:rows, :frames] = mask
        graph.run()
        return graph.encoded[:rows], graph.lengths[:rows]


@dataclass(frozen=True, slots=True)
class _EncoderGraph:
    features: torch.Tensor
    mask: torch.Tensor
    encoded: torch.Tensor
    lengths: torch.Tensor
    run: Work

    @classmethod
    def of(cls, encoder: Encoding, features: torch.Tensor, record: Recorder) -> _EncoderGraph:
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        encoded, lengths = (one.clone() for one in encoder(features, mask))

        def work() -> None:
            for ours, theirs in zip((encoded, lengths), encoder(features, mask), strict=True):
                ours.copy_(theirs)

        return cls(features, mask, encoded, lengths, record(work))


class RecordedDecoder:
    """`decode` by graphs, one for each size of a batch, of up to ``frames`` encoder frames.

    The host launches a block of steps before it knows whether the one before has ended all rows, so
    that the device never waits for it. A block that comes after the end changes nothing.
    """

    def __init__(self, decoder: Decoder, frames: int, record: Recorder) -> None:
        self._decoder = decoder
        self._frames = frames
        self._record = record
        self._graphs: dict[int, _DecoderGraph] = {}

    def __call__(
        self, encoded: torch.Tensor, ends: torch.Tensor, boosts: Boosts | None = None
    ) -> list[Decoded]:
        rows, frames, width = encoded.shape
        if boosts or frames > self._frames:  # the tables of phrases have shapes of their own
            return decode(self._decoder, encoded, ends, boosts)
        size = _power_of_two(rows)
        if size not in self._graphs:
            empty = encoded.new_zeros(size, self._frames, width)
            self._graphs[size] = _DecoderGraph(self._decoder, empty, self._record)
        return self._graphs[size].decode(encoded, ends)


class _DecoderGraph:
    def __init__(self, decoder: Decoder, encoded: torch.Tensor, record: Recorder) -> None:
        self._decoder = decoder
        self._encoded = encoded
        self._ends = torch.zeros(len(encoded), dtype=torch.long, device=encoded.device)
        self._state = _copied(decoder.start(self._ends))
        self._found = decoder.room(len(encoded), encoded.shape[1])
        self._most = self._state.most.clone()
        self._signals = [_Signal(encoded.device.type) for _ in range(2)]
        self._run = record(self._block)

    def decode(self, encoded: torch.Tensor, ends: torch.Tensor) -> list[Decoded]:
        rows, frames = encoded.shape[:2]
        self._encoded[:rows, :frames] = encoded
        self._ends.zero_()[:rows] = ends
        self._state.copy_(self._decoder.start(self._ends))
        before, after = self._signals
        self._run()
        before.send(self._most)
        while True:
            self._run()
            after.send(self._most)
            if (most := before.received()) >= 0:
                return read(self._found[:rows], most)
            before, after = after, before

    def _block(self) -> None:
        self._state.copy_(self._decoder.block(self._encoded, self._state, self._found))
        self._most.copy_(self._state.most)


class _Signal:
    """Tells the host what a number on the device was, while the device goes on."""

    def __init__(self, device: str) -> None:
        cuda = device == "cuda"
        self._number = torch.zeros((), dtype=torch.long, pin_memory=cuda)
        self._event = torch.cuda.Event() if cuda else None

    def send(self, number: torch.Tensor) -> None:
        self._number.copy_(number, non_blocking=True)
        if self._event is not None:
            self._event.record()

    def received(self) -> int:
        if self._event is not None:
            self._event.synchronize()
        return int(self._number)


def _power_of_two(rows: int) -> int:
    """The least one that is not less than ``rows``."""
    return 1 << (rows - 1).bit_length()


def _copied(state: State) -> State:
    """``state`` with tensors of its own."""
    return replace(state, **{one.name: getattr(state, one.name).clone() for one in fields(state)})
