"""How many workers a model gets, on which devices, and how many threads each of them has.

A worker is given its GPU by ``CUDA_VISIBLE_DEVICES``. So every engine library sees one GPU, the
first. The workers of a model share the cores evenly, because more threads than cores slow each
other down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reflector_gpu.errors import ConfigurationError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one worker runs.

    ``index`` is the number of its GPU, if the settings name one. ``visible`` is what the driver
    calls that GPU.
    """

    device: str
    index: int | None
    threads: int
    visible: str | None = None

    def __str__(self) -> str:
        where = self.device if self.index is None else f"{self.device}:{self.index}"
        return f"{where} with {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of a process that runs there."""
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

    ``wanted`` are the devices of the settings: ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt:0``.
    ``supported`` are the kinds that the engine knows, the most capable one last. That one takes the
    place of a wanted device that the engine does not know. Each device gets ``workers`` processes.
    0 means one, or one for each core if they are ``single_threaded``. ``visible`` is the service's
    own ``CUDA_VISIBLE_DEVICES``; the numbers of GPUs count within it.

    Raises:
        ConfigurationError: a GPU is wanted that is not visible.
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
