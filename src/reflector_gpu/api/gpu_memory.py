"""The memory of this machine's GPUs, as NVIDIA's management library (NVML) reports it.

The library comes with the driver. Asking it needs no context on a GPU, so it takes none of the
memory that it reports.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

_LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Bytes; ``used`` by all programs together."""

    used: int
    total: int


class _Memory(ctypes.Structure):
    """``nvmlMemory_t`` of nvml.h."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


def gpu_memory() -> list[GpuMemory]:
    """The memory of each GPU in the driver's order; empty where there is none."""
    nvml = _nvml()
    count = ctypes.c_uint()
    if nvml is None or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    found = (_memory(nvml, number) for number in range(count.value))
    return [memory for memory in found if memory]


def _memory(nvml: ctypes.CDLL, number: int) -> GpuMemory | None:
    """None if the driver does not say, as it is with a share of a GPU."""
    device, memory = ctypes.c_void_p(), _Memory()
    if nvml.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(device)):
        return None
    if nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
        return None
    return GpuMemory(used=memory.used, total=memory.total)


@functools.cache
def _nvml() -> ctypes.CDLL | None:
    """The library, ready to be asked, or None where there is none."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
