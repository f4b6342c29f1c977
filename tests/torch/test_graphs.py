"""The calls by which work becomes a CUDA graph, and what is done if it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from reflector_gpu.engines.recognition.parakeet.pytorch.running import CudaGraphs


class Card:
    """Stands in for ``torch.cuda``. ``calls`` are what it was asked for, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.waiting_is = "default"
        self.recording = False
        self.streams = 0

    def fail(self, reason: str) -> None:
        raise RuntimeError(reason)

    def wait(self) -> None:
        """What work does that waits for the device."""
        if self.recording:
            self.fail("operation not permitted when stream is capturing")
        if self.waiting_is == "error":
            self.fail("called a synchronizing CUDA operation")


class Stream:
    def __init__(self, card: Card, name: str) -> None:
        self.card, self.name = card, name

    def wait_stream(self, other: Stream) -> None:
        self.card.calls.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    current = [Stream(card, "current")]

    def new_stream() -> Stream:
        card.streams += 1
        return Stream(card, f"stream {card.streams}")

    @contextmanager
    def stream(chosen: Stream) -> Iterator[None]:
        before = list(current)
        current.append(chosen)
        try:
            yield
        finally:
            current[:] = before

    class Graph:
        def replay(self) -> None:
            card.calls.append("replay")

    @contextmanager
    def graph(_: Graph, pool: str, on: Stream, *, capture_error_mode: str) -> Iterator[None]:
        card.calls.append(f"record in {pool} on {on.name}, {capture_error_mode}")
        card.recording = True
        current.append(on)
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # PyTorch forgets to go back to the stream from before
            card.fail("operation failed due to a previous error during capture")
        finally:
            card.recording = False
        current.pop()

    def set_mode(mode: str) -> None:
        card.waiting_is = mode

    for name, value in {
        "Stream": new_stream,
        "stream": stream,
        "current_stream": lambda: current[-1],
        "CUDAGraph": Graph,
        "graph": graph,
        "graph_pool_handle": lambda: "the pool",
        "get_sync_debug_mode": lambda: card.waiting_is,
        "set_sync_debug_mode": set_mode,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return card


def noted(card: Card) -> Callable[[], None]:
    def work() -> None:
        card.calls.append(f"work on {torch.cuda.current_stream().name}, {card.waiting_is}")

    return work


def test_work_is_done_twice_before_it_is_recorded(card: Card) -> None:
    CudaGraphs()(noted(card))()
    assert card.calls == [
        "stream 1 waits for current",
        "work on stream 1, default",
        "work on stream 1, error",
        "current waits for stream 1",
        "record in the pool on stream 1, thread_local",
        "work on stream 1, default",
        "replay",
    ]


def test_all_graphs_share_a_stream_and_their_memory(card: Card) -> None:
    record = CudaGraphs()
    for _ in range(3):
        record(noted(card))
    assert card.streams == 1
    assert [call for call in card.calls if "record" in call] == [
        "record in the pool on stream 1, thread_local"
    ] * 3


def test_work_that_waits_for_the_device_is_never_recorded(
    card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    record = CudaGraphs()
    with caplog.at_level(logging.WARNING):
        assert record(card.wait) == card.wait
    assert "called a synchronizing CUDA operation" in caplog.text
    assert not any("record" in call for call in card.calls)
    assert card.waiting_is == "default"
    record(noted(card))()
    assert card.calls[-1] == "replay"


def test_after_a_failed_recording_nothing_is_recorded(
    card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> None:
        if card.recording:
            card.fail("this operator cannot be recorded")

    record, other = CudaGraphs(), noted(card)
    with caplog.at_level(logging.WARNING):
        assert record(work) is work
    assert "this operator cannot be recorded" in caplog.text
    assert torch.cuda.current_stream().name == "current"
    assert record(other) is other
    assert sum("record" in call for call in card.calls) == 1


@pytest.mark.parametrize("recording", [False, True])
def test_a_lack_of_memory_is_the_callers_affair(card: Card, recording: bool) -> None:
    def work() -> None:
        if card.recording is recording:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        CudaGraphs()(work)
