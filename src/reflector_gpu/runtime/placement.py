"""Which workers a model gets, on which devices, with how many threads each.

A GPU is given to a worker by ``CUDA_VISIBLE_DEVICES``, so that every engine library sees its one
GPU as the first. Workers of a model share the cores evenly: more threads than cores would fight.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one worker runs. ``index`` is that of its GPU, where it was told."""

    device: str
    index: int | None
    threads: int

    def __str__(self) -> str:
        where = self.device if self.index is None else f"{self.device}:{self.index}"
        return f"{where} with {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that put a process there."""
        found = dict.fromkeys(_THREAD_VARIABLES, str(self.threads))
        if self.index is not None:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            known = self.index < len(visible) and visible[self.index].strip()
            found["CUDA_VISIBLE_DEVICES"] = known or str(self.index)
        return found


def layout(
    wanted: Sequence[str],
    supported: Sequence[str],
    *,
    cores: int,
    workers: int = 0,
    single_threaded: bool = False,
) -> list[Placement]:
    """The workers of one model.

    ``wanted`` are devices (``cpu``, ``cuda``, ``cuda:1``, ``tensorrt:0``); ``supported`` those
    that the engine knows, the most capable last, which stand in for what it does not. Each gets
    ``workers`` processes; 0: one, or one for each core if they are ``single_threaded``.
    """
    devices = list(dict.fromkeys(_supported(device, supported) for device in wanted))
    per_device = workers or (cores if single_threaded else 1)
    placed = [device for device in devices for _ in range(per_device)]
    threads = 1 if single_threaded else max(1, cores // len(placed))
    return [Placement(kind, index, threads) for kind, index in placed]


def _supported(device: str, supported: Sequence[str]) -> tuple[str, int | None]:
    kind, _, index = device.partition(":")
    if kind not in supported:
        kind = supported[-1]
    return kind, int(index) if index and kind != "cpu" else None
