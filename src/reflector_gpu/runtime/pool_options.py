"""How the workers of a pool are used."""

from __future__ import annotations

from dataclasses import dataclass

from reflector_gpu.stages import Stage


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the workers of a pool are used.

    A batch may take ``base_timeout + cost * timeout_per_cost`` seconds. If live requests share
    the workers with long files, batches of files are kept short: ``interruptible``. If
    ``replace_abandoned``, a worker is killed once nobody waits for anything in its batch. Workers
    are unloaded after ``idle_seconds`` without work. One that does not load is tried again after
    ``first_backoff`` seconds, then after twice that, and so on up to ``longest_backoff``. So is one
    that is killed again and again; the first time there is no wait. ``stage`` is what their work
    is called where the time of a request is accounted for.

    The last ``for_live`` workers take live requests alone, while others are ready for the rest. A
    batch of live requests costs ``max_live_cost`` at most, once it has several items.
    """

    stage: Stage = "recognise"
    max_batch: int = 1
    max_batch_cost: float = float("inf")
    max_live_cost: float = float("inf")
    for_live: int = 0
    interruptible: bool = True
    base_timeout: float = 60.0
    timeout_per_cost: float = 10.0
    replace_abandoned: bool = False
    idle_seconds: float | None = None
    first_backoff: float = 0.5
    longest_backoff: float = 30.0
