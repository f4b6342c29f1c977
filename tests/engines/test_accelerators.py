"""What a GPU needs is found, or said; none is needed here."""

from __future__ import annotations

import ctypes.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
from onnx_asr.onnx import TensorRtOptions

from reflector_gpu.engines.accelerators import check_session, load_cublas, onnx_providers
from reflector_gpu.errors import ModelNotInstalled
from tests.engines.tiny import PARAKEET

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def mapped() -> str:
    return Path("/proc/self/maps").read_text()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the wheel nvidia-cublas-cu12 has its libraries."""
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return folder


@linux
def test_cublas_is_taken_from_its_wheel(wheel: Path) -> None:
    some_library = next(
        line.split()[-1] for line in mapped().splitlines() if "libm.so" in line or "libm-" in line
    )
    names = ("libcublasLt.so.12", "libcublas.so.12")
    for name in names:
        shutil.copy(some_library, wheel / name)
    load_cublas()
    assert all(str(wheel / name) in mapped() for name in names)


def test_a_damaged_wheel_is_no_cublas(wheel: Path) -> None:
    (wheel / "libcublas.so.12").write_bytes(b"not a library")
    with pytest.raises(ModelNotInstalled, match="pip install nvidia-cublas-cu12"):
        load_cublas()


@pytest.mark.skipif(bool(ctypes.util.find_library("cublas")), reason="the system has cuBLAS")
def test_without_cublas_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ModelNotInstalled, match="pip install nvidia-cublas-cu12"):
        load_cublas()


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An ONNX Runtime with all providers; the cache is in the folder returned."""
    names = [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU")]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = (TensorRtOptions.profile_max_shapes, TensorRtOptions.profile_opt_shapes)
    yield tmp_path
    TensorRtOptions.profile_max_shapes, TensorRtOptions.profile_opt_shapes = before


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_onnx_runtime_was_not_built_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelNotInstalled, match=rf"'{device}'.*onnxruntime-gpu"):
        onnx_providers(device, 30.0, 32)


@pytest.mark.parametrize("device", ["cpu", "cuda", "tensorrt"])
def test_the_device_comes_first_and_the_cpu_last(everywhere: Path, device: str) -> None:
    names = [name for name, _ in onnx_providers(device, 30.0, 32)]
    assert names[0].lower().startswith(device)
    assert names[-1] == "CPUExecutionProvider"
    assert len(set(names)) == len(names)


def test_tensorrt_keeps_what_it_builds_and_builds_for_every_batch(everywhere: Path) -> None:
    _, options = onnx_providers("tensorrt", 30.0, 32)[0]
    cache = Path(options["trt_engine_cache_path"])
    assert options["trt_engine_cache_enable"] == "True"
    assert cache.is_dir()
    assert cache.is_relative_to(everywhere)
    shapes = TensorRtOptions.profile_max_shapes
    assert shapes["batch"] >= 32
    assert shapes["waveform_len_ms"] // 10 > 30_000 // 10, "the frame after the last is one more"


def test_a_session_that_fell_back_to_the_cpu_is_refused() -> None:
    session = onnxruntime.InferenceSession(
        PARAKEET / "decoder_joint-model.onnx", providers=["CPUExecutionProvider"]
    )
    check_session(session, "cpu")
    with pytest.raises(ModelNotInstalled, match=r"'cuda'.*onnxruntime-gpu"):
        check_session(session, "cuda")
