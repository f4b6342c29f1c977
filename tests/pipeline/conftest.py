"""A detector and a cutter that tests can reckon with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # see tests/conftest.py
    from reflector_gpu.types import Chunk, Samples


@pytest.fixture
def second_by_second(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Cut every second, whether anybody speaks or not; returns where the chunks begin."""
    import numpy as np

    from reflector_gpu.decoding import tasks
    from reflector_gpu.types import SAMPLE_RATE, Chunk

    made: list[float] = []

    class EverySecond:
        def __init__(self, *_: object, **__: object) -> None:
            self._rest, self._position = np.zeros(0, np.float32), 0.0

        def push(self, block: Samples, _: float) -> Iterator[Chunk]:
            self._rest = np.concatenate([self._rest, block])
            while len(self._rest) >= SAMPLE_RATE:
                made.append(self._position)
                yield Chunk(self._rest[:SAMPLE_RATE], self._position)
                self._rest, self._position = self._rest[SAMPLE_RATE:], self._position + 1

        def finish(self) -> Iterator[Chunk]:
            return iter(())

    monkeypatch.setattr(tasks, "chunker", EverySecond)
    return made
