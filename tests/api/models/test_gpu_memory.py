"""The memory of GPUs, told by a library that stands in for NVIDIA's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflector_gpu.api import gpu_memory
from reflector_gpu.api.gpu_memory import GpuMemory

NVML = """
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
static int devices[3];
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = &devices[index];
  return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, nvmlMemory_t *memory) {
  long index = (int *)device - devices;
  if (index == 1) return 3; /* NVML_ERROR_NOT_SUPPORTED */
  memory->total = 80ULL << 30;
  memory->used = (index + 1ULL) << 30;
  memory->free = memory->total - memory->used;
  return 0;
}
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the driver's library is looked for; nothing is there yet."""
    path = tmp_path / "libnvidia-ml.so.1"
    monkeypatch.setattr(gpu_memory, "_LIBRARY", str(path))
    gpu_memory._nvml.cache_clear()
    yield path
    gpu_memory._nvml.cache_clear()


def test_without_a_driver_there_is_none(library: Path) -> None:
    assert gpu_memory.gpu_memory() == []


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_each_gpu_tells_its_memory_if_it_can(library: Path) -> None:
    source = library.with_suffix(".c")
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    assert gpu_memory.gpu_memory() == [
        GpuMemory(used=1 << 30, total=80 << 30),
        GpuMemory(used=3 << 30, total=80 << 30),
    ]
