"""The Hugging Face cache, in which every tool for the hub finds a model's files.

Its layout is documented (https://huggingface.co/docs/huggingface_hub/guides/manage-cache): the
folder ``blobs`` has contents by their hashes, and a revision is a folder of links to them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from reflector_gpu.engines.weights.pins import PinnedFile
from reflector_gpu.errors import StorageFull, UpstreamFailed


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of the hub in the cache."""

    name: str

    @property
    def path(self) -> Path:
        return cache_folder() / f"models--{self.name.replace('/', '--')}"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    @property
    def workspace(self) -> Path:
        """The folder of archives while files are extracted from them; else empty."""
        return self.path / "archives"

    def snapshot(self, revision: str) -> Path:
        return self.path / "snapshots" / revision

    def link(self, name: str, revision: str, blob: Path) -> None:
        """Link the file ``name`` of ``revision`` to the content ``blob``."""
        pointer = self.snapshot(revision) / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        beside = pointer.with_name(f".{pointer.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.path.relpath(blob, pointer.parent))
        beside.replace(pointer)

    def make_current(self, revision: str) -> None:
        """Make ``revision`` the one that ``main`` means."""
        current = self.path / "refs" / "main"
        current.parent.mkdir(parents=True, exist_ok=True)
        beside = current.with_name(f".main.{os.getpid()}")
        beside.write_text(revision)
        beside.replace(current)

    def check_space(self, needed: int) -> None:
        """
        Raises:
            StorageFull: fewer than ``needed`` bytes are free.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path).free
        if needed > free:
            raise StorageFull(
                f"{self.name} needs {size(needed / 1e6)} more than the {size(free / 1e6)} "
                "that are free in the Hugging Face cache: make room, or set HF_HOME."
            )

    def receive(
        self,
        file: PinnedFile,
        revision: str,
        origin: str,
        write: Callable[[BufferedRandom], None],
    ) -> None:
        """Have ``write`` put the bytes of ``file`` into the cache, and compare them with the pin.

        ``write`` gets an open file, which may have the first bytes already, and appends the rest.
        If two processes do this, one waits for the other and finds the file complete.

        Raises:
            UpstreamFailed: ``origin`` delivered another file, which is deleted.
        """
        self.blobs.mkdir(parents=True, exist_ok=True)
        blob = self.blobs / file.sha256
        partial = blob.with_name(f"{blob.name}.incomplete")
        with partial.open("a+b") as place:
            fcntl.flock(place, fcntl.LOCK_EX)
            if blob.exists():  # another process has fetched it meanwhile
                partial.unlink(missing_ok=True)
            else:
                here = place.truncate(min(_length(place), file.size))
                if here < file.size:
                    self.check_space(file.size - here)
                    place.seek(here)
                    write(place)
                    place.flush()
                if not is_pinned(place, file):
                    place.truncate(0)
                    raise UpstreamFailed(
                        f"the {file.name} of {origin} is not the one that {self.name} published "
                        f"(SHA-256 {file.sha256[:12]}...), and was thrown away"
                    )
                partial.replace(blob)
        self.link(file.name, revision, blob)


def _length(file: BufferedRandom) -> int:
    return file.seek(0, os.SEEK_END)


def is_pinned(content: BufferedRandom, file: PinnedFile) -> bool:
    """Whether the open file ``content`` is the pinned one."""
    if _length(content) != file.size:
        return False
    content.seek(0)
    return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256


def cache_folder() -> Path:
    """The folder of the cache, by the variables of the hub library."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"
    )
    return Path(home).expanduser() / "hub"


def size(megabytes: float) -> str:
    """``2.5 GB`` or ``78 MB``."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
