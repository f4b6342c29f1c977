"""What is installed in the containers on Modal.

Packages come from the registry, at the versions of ``constraints.txt``, in one layer. Our own
source is mounted when a container starts, so that editing it does not rebuild the image.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import modal

import reflector_gpu
from reflector_gpu.errors import ConfigurationError

ROOT = Path(reflector_gpu.__file__).parents[2]
"""The checkout that is deployed. Containers get only its package."""

PYTHON = "3.11"
UV = "0.13.9"

_CONSTRAINTS = "/constraints.txt"  # in the container
_NOT_SERVED = {"pocketsphinx", "rich", "typer", "uvicorn"}
"""Dependencies of the command line and the embedded profile, which containers do without."""

_CUBLAS = "nvidia-cublas-cu12"  # CTranslate2's wheels want CUDA 12 and do not bring it
_ONNX_GPU = "onnxruntime-gpu[cuda,cudnn]"  # brings its own, CUDA 13

_GPU_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "whisper": (_CUBLAS,),
    "parakeet": (_ONNX_GPU,),
    "segmentation": (_ONNX_GPU,),
    "translation": (_CUBLAS,),
    "llm": (_CUBLAS,),
}
"""By extra: further packages that its engines need on a GPU. Without one they do no harm."""


def image(extra: str | None = None) -> modal.Image:
    """The image for engines that need ``extra``; without one, for a server.

    Raises:
        ConfigurationError: this is no checkout, or a package is not pinned.
    """
    if not modal.is_local():  # this process runs in the image
        return modal.Image.debian_slim(PYTHON)
    packages = pinned(requirements(extra), (ROOT / "constraints.txt").read_text())
    return (
        modal.Image.debian_slim(PYTHON)
        .add_local_file(ROOT / "constraints.txt", _CONSTRAINTS, copy=True)
        .uv_pip_install(packages, extra_options=f"--constraint {_CONSTRAINTS}", uv_version=UV)
        .add_local_python_source("reflector_gpu", ignore=_is_left_out)
    )


def requirements(extra: str | None) -> list[str]:
    """The packages to install, with their extras in brackets."""
    try:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    except OSError as error:
        raise ConfigurationError("Deploy from a checkout of reflector-gpu.") from error
    extras = project["optional-dependencies"]
    added = [*extras["postgresql"], *(extras[extra] if extra else [])]
    on_gpu = _GPU_PACKAGES.get(extra or "", ())
    named = [_name(line) for line in (*project["dependencies"], *added)]
    dropped = _NOT_SERVED | ({"onnxruntime"} if _ONNX_GPU in on_gpu else set())
    return sorted({*named, *on_gpu} - dropped)


def pinned(names: Iterable[str], constraints: str) -> list[str]:
    """Each of ``names`` with its version in ``constraints``.

    Raises:
        ConfigurationError: it has none.
    """
    lines = (line.partition("==") for line in constraints.splitlines() if "==" in line)
    versions = {_canonical(name): version for name, _, version in lines}
    found: list[str] = []
    for name in names:
        version = versions.get(_canonical(name.partition("[")[0]))
        if version is None:
            raise ConfigurationError(f"constraints.txt has no version of {name}.")
        found.append(f"{name}=={version}")
    return found


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+(\[[\w,-]+\])?", requirement)
    assert match is not None, requirement
    return match[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_left_out(path: Path) -> bool:
    """False for compiled files. Package data is mounted with the source."""
    return path.suffix == ".pyc" or "__pycache__" in path.parts


__all__: Sequence[str] = ["ROOT", "image", "pinned", "requirements"]
