"""Waveforms that are read a minute at a time, and files as the hub library keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reflector_gpu.types import SAMPLE_RATE, Samples


@dataclass(frozen=True)
class Waveform:
    """`Pcm` in memory."""

    samples: Samples

    @property
    def length(self) -> int:
        return len(self.samples)

    def read(self, first: int, last: int) -> Samples:
        assert last - first <= 60 * SAMPLE_RATE
        return self.samples[first:last]


def cached(cache: Path, repository: str, *files: str) -> Path:
    """As the hub library keeps ``files``."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file).touch()
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("abc")
    return snapshot
