"""What a pool needs of that which runs its batches, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.worker import WorkerDied


class Runner(Protocol):
    """What runs batches: a `Worker` here, or its like elsewhere. Used by one thread at a time.

    The methods do what those of `Worker` do.
    """

    @property
    def pid(self) -> int | None: ...
    @property
    def alive(self) -> bool: ...
    def run(self, batch: Batch) -> Sequence[object]: ...
    def stop(self) -> None: ...
    def death(self) -> WorkerDied: ...


class Starter(Protocol):
    """Starts a worker elsewhere, as a `Recipe` does here."""

    def start(self, abandoned: Callable[[], bool]) -> Runner:
        """A worker whose engine is loaded, or loads when needed. Raises what `Worker` does."""
