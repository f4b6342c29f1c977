"""Prepares engine libraries for a device, with clear errors if something is missing."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from reflector_gpu.errors import EngineFailed, ModelNotInstalled

if TYPE_CHECKING:
    import onnxruntime

Provider: TypeAlias = tuple[str, dict[str, str]]
"""A provider of ONNX Runtime and its options."""

_PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

_CHOSEN_BY_CTRANSLATE2 = ("default", "auto")
"""Compute types that stand for others: that of the weights, and the fastest one."""

_CUDA_OPTIONS = {
    # Every batch has a shape of its own; the default would search anew for each of them
    # (sglang-omni, pull request 2176: 148 ms against 17 for a tokenizer on an H200).
    "cudnn_conv_algo_search": "HEURISTIC",
    # The default takes twice as much at each growth, and never gives it back.
    "arena_extend_strategy": "kSameAsRequested",
}

_TENSORRT_OPTIONS = {
    "trt_fp16_enable": "True",
    "trt_max_workspace_size": str(6 << 30),  # bytes, as onnx-asr advises for big models
    # Building takes minutes, so what was built is kept.
    "trt_engine_cache_enable": "True",
    # Small networks see a new batch size at almost every step and would be built for each; they
    # run on CUDA. Parakeet's encoder has thousands of nodes, its decoder about 40.
    "trt_min_subgraph_size": "200",
}


def check_ctranslate2(what: str, device: str, compute_type: str) -> None:
    """Make ``device`` ready for CTranslate2, and check that it can compute in ``compute_type``.

    Raises:
        ModelNotInstalled: it cannot. The message is about ``what``.
    """
    import ctranslate2

    try:
        supported = ctranslate2.get_supported_compute_types(device)
    except (RuntimeError, ValueError) as error:  # no driver, no GPU; no such device
        raise ModelNotInstalled(
            f"{what} cannot run on the device '{device}' here: {error}."
        ) from error
    if compute_type not in {*_CHOSEN_BY_CTRANSLATE2, *supported}:
        raise ModelNotInstalled(
            f"{what} cannot compute in '{compute_type}' on the device '{device}' here, but in: "
            f"{', '.join(sorted(supported))}."
        )
    if device == "cuda":
        load_cublas()


@contextmanager
def ctranslate2_batch(what: str, items: int) -> Iterator[None]:
    """The context of CTranslate2's work on a batch of ``items``, which makes its errors ours.

    Raises:
        EngineFailed: it failed, perhaps for lack of memory. The message is about ``what``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # all that CTranslate2 raises
        raise EngineFailed(f"{what} failed on a batch of {items}: {error}") from error


def load_cublas() -> None:
    """Load CUDA 12's cuBLAS from NVIDIA's wheel or from the system.

    CTranslate2 opens it by name when it first multiplies. The linker would not find it in a wheel,
    but uses it if it is already loaded.

    Raises:
        ModelNotInstalled: there is none; the message says how to get it.
    """
    names = list(_wheel_libraries()) or ["libcublas.so.12"]
    try:
        for name in names:
            ctypes.CDLL(name)
    except OSError as error:
        raise ModelNotInstalled(
            "CTranslate2 on CUDA needs CUDA 12's cuBLAS: pip install nvidia-cublas-cu12"
        ) from error


def _wheel_libraries() -> Iterator[str]:
    """The libraries of the wheel nvidia-cublas-cu12, each after those that it needs."""
    package = importlib.util.find_spec("nvidia")
    for folder in (package and package.submodule_search_locations) or ():
        for name in ("libcublasLt.so.12", "libcublas.so.12"):
            library = Path(folder, "cublas", "lib", name)
            if library.is_file():
                yield str(library)


def onnx_providers(device: str, longest_seconds: float, max_batch: int) -> list[Provider]:
    """ONNX Runtime's providers for ``device``, the preferred one first.

    TensorRT builds one engine for all batches of up to ``max_batch`` times ``longest_seconds``.

    Raises:
        ModelNotInstalled: the installed ONNX Runtime does not know the device.
    """
    import onnxruntime

    if _PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise _no_provider(device)
    providers: list[Provider] = [(_PROVIDERS["cpu"], {})]
    if device != "cpu":
        onnxruntime.preload_dlls()  # of NVIDIA's wheels, if they are installed
        providers.insert(0, (_PROVIDERS["cuda"], _CUDA_OPTIONS))
    if device == "tensorrt":
        with suppress(ImportError):  # the wheel of TensorRT's libraries, unless the system has them
            importlib.import_module("tensorrt_libs")
        _set_tensorrt_profile(longest_seconds, max_batch)
        cache = {"trt_engine_cache_path": str(_tensorrt_cache(onnxruntime.__version__))}
        providers.insert(0, (_PROVIDERS["tensorrt"], {**_TENSORRT_OPTIONS, **cache}))
    return providers


def check_session(session: onnxruntime.InferenceSession, device: str) -> None:
    """Check that ``session`` runs on ``device``: if libraries are missing, it runs on the CPU.

    Raises:
        ModelNotInstalled: it runs elsewhere.
    """
    if _PROVIDERS[device] not in session.get_providers():
        raise _no_provider(device)


def onnx_failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises if a run fails, mostly for lack of memory."""
    from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, Fail, RuntimeException

    return EPFail, Fail, RuntimeException, MemoryError


def _no_provider(device: str) -> ModelNotInstalled:
    needed = "'onnxruntime-gpu[cuda,cudnn]'" + (" tensorrt" if device == "tensorrt" else "")
    return ModelNotInstalled(
        f"ONNX Runtime cannot use the device '{device}' here: "
        f"pip uninstall onnxruntime && pip install {needed}"
    )


def _set_tensorrt_profile(longest_seconds: float, max_batch: int) -> None:
    """Set the shapes to build for. onnx-asr's own end at batches of 16, and just before 30 s."""
    from onnx_asr.onnx import TensorRtOptions

    longest = int(longest_seconds * 1000)
    TensorRtOptions.profile_max_shapes = {"batch": max_batch, "waveform_len_ms": longest + 1000}
    TensorRtOptions.profile_opt_shapes = {"batch": max_batch // 2, "waveform_len_ms": longest // 2}


def _tensorrt_cache(version: str) -> Path:
    """The folder of built engines. One version may not read those of another."""
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    folder = home / "reflector-gpu" / f"tensorrt-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
