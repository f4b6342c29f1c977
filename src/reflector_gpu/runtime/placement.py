"""Which workers a model gets, on which devices, with how many threads each.

A GPU is given to a worker by ``CUDA_VISIBLE_DEVICES``, so that every engine library sees its one
GPU as the first. Workers of a model share the cores evenly: more threads than cores would fight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reflector_gpu.errors import ConfigurationError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one worker runs. ``index`` is that of its GPU, where it was told, and ``visible`` what
    the driver calls it."""

    device: str
    index: int | None
    threads: int
    visible: str | None = None

    def __str__(self) -> str:
        where = self.device if self.index is None else f"{self.device}:{self.index}"
        return f"{where} with {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that put a process there."""
        found = dict.fromkeys(_THREAD_VARIABLES, str(self.threads))
        if self.visible is not None:
            found["CUDA_VISIBLE_DEVICES"] = self.visible
        return found


def layout(
    wanted: Sequence[str],
    supported: Sequence[str],
    *,
    cores: int,
    workers: int = 0,
    single_threaded: bool = False,
    visible: str | None = None,
) -> list[Placement]:
    """The workers of one model.

    ``wanted`` are devices (``cpu``, ``cuda``, ``cuda:1``, ``tensorrt:0``); ``supported`` those
    that the engine knows, the most capable last, which stand in for what it does not. Each gets
    ``workers`` processes; 0: one, or one for each core if they are ``single_threaded``.
    ``visible`` is the service's own ``CUDA_VISIBLE_DEVICES``, among which GPUs are counted.

    Raises:
        ConfigurationError: there are not so many of them.
    """
    devices = list(dict.fromkeys(_supported(device, supported) for device in wanted))
    per_device = workers or (cores if single_threaded else 1)
    placed = [device for device in devices for _ in range(per_device)]
    threads = 1 if single_threaded else max(1, cores // len(placed))
    return [Placement(kind, index, threads, _gpu(index, visible)) for kind, index in placed]


def _gpu(index: int | None, visible: str | None) -> str | None:
    if index is None or visible is None:
        return None if index is None else str(index)
    names = [name.strip() for name in visible.split(",") if name.strip()]
    if index >= len(names):
        raise ConfigurationError(
            f"REFLECTOR_DEVICES: there is no GPU {index} in CUDA_VISIBLE_DEVICES={visible}."
        )
    return names[index]


def _supported(device: str, supported: Sequence[str]) -> tuple[str, int | None]:
    kind, _, index = device.partition(":")
    if kind not in supported:
        kind = supported[-1]
    return kind, int(index) if index and kind != "cpu" else None
