"""What pools tell of their work while they do it, for metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reflector_gpu.types import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDone:
    """A batch that a worker has answered: ``items`` of at most ``room``, in ``seconds``."""

    items: int
    room: int
    seconds: float


class PoolWatcher(Protocol):
    """Notified about every pool, by its name, in threads that it must not hold up."""

    def waited(self, pool: str, priority: Priority, seconds: float) -> None:
        """A job has waited for ``seconds`` until a worker took it."""

    def worked(self, pool: str, batch: BatchDone) -> None:
        """A worker has answered ``batch``."""

    def loaded(self, pool: str, seconds: float) -> None:
        """A worker has loaded its model within ``seconds``."""

    def died(self, pool: str) -> None:
        """A worker has died and is replaced."""


class _Nobody:
    def waited(self, pool: str, priority: Priority, seconds: float) -> None: ...
    def worked(self, pool: str, batch: BatchDone) -> None: ...
    def loaded(self, pool: str, seconds: float) -> None: ...
    def died(self, pool: str) -> None: ...


NOBODY: PoolWatcher = _Nobody()
"""Watches nothing."""
