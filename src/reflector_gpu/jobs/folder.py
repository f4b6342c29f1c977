"""The recordings of jobs, in a private folder."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    ConfigurationError,
    NotFound,
    ReflectorError,
    StorageFull,
    Unavailable,
    release_frames,
)
from reflector_gpu.jobs.blobs import Blobs, FolderBlobs, sync

_AUDIO, _PARTIAL = "audio", "partial"


class JobFolder:
    """Has a folder for each job, with its recording in it."""

    copies = False
    """Whether a job's recording is a copy of what it is made of, and not one more name of it."""

    uploads: Blobs
    """What has come of resumable uploads."""
    files: Blobs
    """The input of batches."""

    def __init__(self, root: Path, limit: int) -> None:
        """A recording may have ``limit`` bytes.

        Raises:
            ConfigurationError: the folder cannot be used.
        """
        self.limit = limit
        self._root = root
        self._lock: int | None = None
        self._jobs, self._incoming = root / "jobs", root / "incoming"
        uploads, files = root / "uploads", root / "files"
        self.uploads, self.files = FolderBlobs(uploads), FolderBlobs(files)
        try:
            for path in (root, self._jobs, self._incoming, uploads, files):
                path.mkdir(mode=0o700, parents=path == root, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"REFLECTOR_DATA_DIR: {root} cannot be used as a folder: {error.strerror}."
            ) from None

    def alone(self) -> bool:
        """Whether no other server uses the folder. While this server lives, others get False."""
        lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock  # it ends with the process at the latest
        return True

    def release(self) -> None:
        """Let another server be `alone`."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def arriving(self) -> Iterator[Arriving]:
        """Takes an upload. What is not kept by the end of the block is removed."""
        arriving = Arriving(self._incoming, self.limit)
        try:
            yield arriving
        finally:
            arriving.drop()

    async def keep(self, job_id: str, path: Path) -> int:
        """Make the file ``path`` the recording of a job as well, on disk. Returns its size.

        Raises:
            StorageFull, Unavailable: nothing of it is kept.
        """
        try:
            return await self._keep(job_id, path)
        except BaseException:
            await self.forget(job_id)
            raise

    async def _keep(self, job_id: str, path: Path) -> int:
        return await asyncio.to_thread(self._link, job_id, path)

    def _link(self, job_id: str, path: Path) -> int:
        with storing():
            sync(path)
            folder = self._jobs / job_id
            folder.mkdir(mode=0o700)
            (folder / _AUDIO).hardlink_to(path)
            sync(folder)
            sync(self._jobs)
            return path.stat().st_size

    @asynccontextmanager
    async def recording(
        self, job_id: str, fetch: Callable[[Spool], Awaitable[None]]
    ) -> AsyncIterator[Spool]:
        """The recording of a job. If it is not here yet, ``fetch`` fills the spool meanwhile.

        Raises:
            StorageFull
        """
        folder = self._jobs / job_id
        audio, partial = folder / _AUDIO, folder / _PARTIAL
        with storing():
            kept = Spool.of(audio) if audio.exists() else None
        if kept:
            with kept:
                yield kept
            return
        with storing():
            folder.mkdir(mode=0o700, exist_ok=True)
            partial.unlink(missing_ok=True)
            file = partial.open("xb+", buffering=0)
        with Spool.onto(file, self.limit) as spool:

            async def fetched() -> None:
                try:
                    await fetch(spool)
                except BaseException as error:  # readers of the spool would wait for ever
                    spool.fail(
                        error
                        if isinstance(error, ReflectorError)
                        else Unavailable("The recording did not arrive.")
                    )
                    raise
                with storing():
                    await asyncio.to_thread(sync, partial)
                    partial.replace(audio)

            fetching = asyncio.create_task(fetched())
            try:
                yield spool
                await fetching
            finally:
                fetching.cancel()
                await asyncio.wait({fetching})
                if not fetching.cancelled() and (error := fetching.exception()):
                    release_frames(error)  # readers of the spool were told

    async def forget(self, job_id: str) -> None:
        """Remove the recording of a job that was not accepted, wherever it is."""
        self.remove(job_id)

    def remove(self, job_id: str) -> None:
        """Remove the recording of a job, if it has one here."""
        shutil.rmtree(self._jobs / job_id, ignore_errors=True)

    async def sweep(self) -> None:
        """Remove what killed servers have left and nobody misses. Here, that is nothing."""

    def ids(self) -> list[str]:
        """The jobs that have a folder."""
        return [path.name for path in self._jobs.iterdir()]

    def remove_incoming(self) -> None:
        """Remove what servers left that were killed during an upload."""
        for path in self._incoming.iterdir():
            path.unlink(missing_ok=True)


class Arriving:
    """The files of one upload."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._paths: list[Path] = []

    def spool(self) -> Spool:
        """A spool that becomes the next file.

        Raises:
            StorageFull
        """
        path = self._folder / os.urandom(12).hex()
        with storing():
            file = path.open("xb+", buffering=0)
        self._paths.append(path)
        return Spool.onto(file, self._limit)

    @property
    def path(self) -> Path:
        """The first file."""
        return self._paths[0]

    def drop(self) -> None:
        """Remove the files that are still here."""
        for path in self._paths:
            path.unlink(missing_ok=True)


@contextmanager
def storing() -> Iterator[None]:
    """Have what goes wrong with the files of recordings make their jobs wait, and not fail.

    Raises:
        NotFound: a file was deleted.
        StorageFull
    """
    try:
        yield
    except ReflectorError:
        raise
    except FileNotFoundError as error:
        raise NotFound("The recording was deleted; upload it again.") from error
    except OSError as error:
        raise StorageFull("The server has no room for the recording; try later.") from error


async def digest_of(path: Path) -> str:
    """A digest of what is in a file."""

    def work() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return await asyncio.to_thread(work)
