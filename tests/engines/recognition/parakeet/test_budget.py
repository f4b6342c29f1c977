"""The audio of a pack follows the memory that is free, and is halved once."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from reflector_gpu.engines.recognition.parakeet.pytorch.budget import Budget


@dataclass
class Card:
    free_bytes: int | None
    bytes_per_second: float = 8e6


@pytest.mark.parametrize(
    ("free", "seconds"),
    [(None, 3840.0), (140 * 10**9, 3840.0), (10 * 10**9, 750.0), (0, 31.0)],
    ids=["a CPU", "a large card", "a small card", "a full card"],
)
def test_it_is_what_fits_between_one_chunk_and_the_most(free: int | None, seconds: float) -> None:
    assert Budget(Card(free), 3840.0).seconds == seconds


def test_it_is_halved_once_and_loudly(caplog: pytest.LogCaptureFixture) -> None:
    budget = Budget(Card(10 * 10**9), 3840.0)
    with caplog.at_level(logging.WARNING):
        assert budget.halve()
        assert not budget.halve()
    assert budget.seconds == 375.0
    (record,) = caplog.records
    assert "ran out of memory" in record.message
    assert "375 s" in record.message


def test_a_chunk_of_the_longest_always_fits() -> None:
    budget = Budget(Card(0), 3840.0)
    assert budget.halve()
    assert budget.seconds == 31.0
