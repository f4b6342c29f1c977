"""Where a model's files are: a folder of the operator's, or the Hugging Face cache.

The hub library speaks to the hub and keeps the cache, with ``HF_HOME``, ``HF_ENDPOINT``, tokens and
offline mode as its users know them. The files themselves are put into the cache here, by plain
HTTP: the library (2.4, `file_download._download_to_tmp_and_move`) throws away what its process
could not finish, and over HTTP it compares nothing but sizes. Nothing is downloaded unless
`Weights.pull` is called.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from io import BufferedRandom
from pathlib import Path

from reflector_gpu.errors import ModelNotInstalled, ReflectorError, StorageFull, UpstreamFailed


@dataclass(frozen=True, slots=True)
class Weights:
    """Files of a hub repository: ``patterns`` to fetch, ``required`` ones to be complete.

    What is ``beside`` them belongs to them, and is of another repository; ``megabytes`` are those
    of all.
    """

    repository: str
    patterns: tuple[str, ...]
    required: tuple[str, ...]
    megabytes: int
    beside: Weights | None = None

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

        Reads the hub's documented cache layout instead of importing its library, which takes
        longer than the whole look-up: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
        """
        try:
            commit = (self._cached / "refs" / "main").read_text().strip()
        except OSError:
            return None
        current = self._cached / "snapshots" / commit
        # Models share repositories: a newer commit may hold the files of the other one alone.
        snapshots = (self._cached / "snapshots").glob("*")
        newest = sorted(snapshots, key=lambda one: one.stat().st_mtime, reverse=True)
        return next((one for one in (current, *newest) if not self._absent(one)), None)

    @property
    def fetched(self) -> float:
        """Megabytes that lie in the cache, files that are not complete yet among them."""
        found = 0
        with suppress(OSError):  # there is nothing yet, or it is renamed while we look
            linked = (self._cached / "snapshots").glob("*/*")
            others = {file.resolve().name for file in linked if not self._wants(file.name)}
            for blob in (self._cached / "blobs").iterdir():
                found += blob.stat().st_size if blob.name not in others else 0
        return found / 1e6 + (self.beside.fetched if self.beside else 0.0)

    def pull(self) -> Path:
        """Download what is missing, going on where an earlier attempt stopped, and check it.

        What is beside comes after; the folder is that of the first.

        Each file is compared with the hash that the hub gives for it. On a terminal's standard
        error it is a bar. Of two processes that pull the same file, one waits for the other.

        Raises:
            UpstreamFailed: the hub can not be reached, refuses, or sends what it should not.
            StorageFull: the files do not fit into the cache.
            ModelNotInstalled: the hub library is missing.
        """
        folder = self._pull()
        if self.beside:
            self.beside.pull()
        return folder

    def _pull(self) -> Path:
        try:
            from huggingface_hub import HfApi, hf_hub_download
            from huggingface_hub.errors import HfHubHTTPError
        except ImportError as error:
            raise ModelNotInstalled(
                "Downloading models needs huggingface-hub: pip install huggingface-hub"
            ) from error
        try:
            info = HfApi().model_info(self.repository)
            commit = str(info.sha)
            folder = self._cached / "snapshots" / commit
            files = [file.rfilename for file in info.siblings or ()]
            missing = [name for name in files if self._wants(name) and not (folder / name).exists()]
            for name in missing:
                self._fetch(name, commit)
            for name in missing:  # only now: what is in the folder is taken to be complete
                hf_hub_download(self.repository, name, revision=commit, cache_dir=_cache())
            if absent := self._absent(folder):
                raise UpstreamFailed(f"{self.repository} on the hub has no {', '.join(absent)}.")
            self._make_current(commit)
        except ReflectorError:
            raise
        except HfHubHTTPError as error:
            raise _refused(self.repository, error.response.status_code) from error
        except Exception as error:  # the library's transport differs by version, and what it raises
            if isinstance(error, OSError) and error.errno:
                raise _not_written(self.repository, error) from error
            if self._folder is None:
                raise _out_of_reach(self.repository, error) from error
            return self._folder
        return folder

    @property
    def _cached(self) -> Path:
        return _cache() / f"models--{self.repository.replace('/', '--')}"

    def _wants(self, name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in self.patterns)

    def _absent(self, folder: Path) -> list[str]:
        return [name for name in self.required if not (folder / name).exists()]

    def _fetch(self, name: str, commit: str) -> None:
        """Have ``name`` among the blobs of the cache, where the library will find it."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        url = hf_hub_url(self.repository, name, revision=commit)
        promised = get_hf_file_metadata(url)
        if not promised.etag:
            raise UpstreamFailed(f"The model hub names no hash for {name} of {self.repository}.")
        blob = self._cached / "blobs" / promised.etag
        partial = blob.with_name(f"{blob.name}.incomplete")
        blob.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if blob.exists():  # it came while we waited
                partial.unlink(missing_ok=True)
                return
            here = file.truncate(min(file.seek(0, os.SEEK_END), promised.size or 0))
            self._check_space((promised.size or 0) - here)
            http_get(
                url,
                file,
                resume_size=here,
                headers=build_hf_headers(),
                expected_size=promised.size,
                displayed_filename=name,
            )
            file.flush()
            if not _matches(file, promised.etag):
                file.truncate(0)
                raise UpstreamFailed(f"{name} of {self.repository} arrived damaged; pull it again.")
            partial.replace(blob)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self._cached).free
        if needed > free:
            raise StorageFull(
                f"{self.repository} needs {size(needed / 1e6)} more than the {size(free / 1e6)} "
                "that are free in the Hugging Face cache: make room, or set HF_HOME."
            )

    def _make_current(self, commit: str) -> None:
        current = self._cached / "refs" / "main"
        current.parent.mkdir(exist_ok=True)
        beside = current.with_name(f".main.{os.getpid()}")
        beside.write_text(commit)
        beside.replace(current)


def size(megabytes: float) -> str:
    """``2.5 GB`` or ``78 MB``."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def _matches(file: BufferedRandom, name: str) -> bool:
    """Whether the content hashes to its name: SHA-256, or Git's SHA-1 of small files.

    A mirror may have other names, which say nothing.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    if len(name) == hashlib.sha256().digest_size * 2:
        return hashlib.file_digest(file, "sha256").hexdigest() == name
    if len(name) == hashlib.sha1(usedforsecurity=False).digest_size * 2:
        git = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)
        return hashlib.file_digest(file, lambda: git).hexdigest() == name
    return True


def _refused(repository: str, status: int) -> UpstreamFailed:
    page = f"https://huggingface.co/{repository}"
    gated = f" It may be gated: accept its terms at {page}, and set HF_TOKEN."
    hint = gated if status in (401, 403) else ""
    return UpstreamFailed(f"The model hub answers {status} for {repository}.{hint}")


def _not_written(repository: str, error: OSError) -> StorageFull:
    return StorageFull(
        f"{repository} can not be written to the Hugging Face cache: {error.strerror}. Make room, "
        "or set HF_HOME. What has arrived is kept."
    )


def _out_of_reach(repository: str, error: Exception) -> UpstreamFailed:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return UpstreamFailed(f"HF_HUB_OFFLINE is set, and {repository} is not in the cache.")
    return UpstreamFailed(
        f"{repository} can not be had from the model hub: check the network and HF_ENDPOINT. "
        f"({type(error).__name__}: {error})"
    )


def _cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"
    )
    return Path(home).expanduser() / "hub"
