"""The bytes of uploads and of files, in a folder that all servers share."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from reflector_gpu.errors import NotFound, StorageFull

_SPARE_BYTES = 500_000_000  # of the disk, which stay free
_READ = 65_536  # bytes at once


class Writer(Protocol):
    """Appends to a blob."""

    async def write(self, piece: bytes) -> None:
        """
        Raises:
            StorageFull, Unavailable
            Conflict: another server has written there.
            NotFound: the blob was removed.
        """

    async def flush(self) -> None:
        """Have the blob's size count what was written; raises as `write`."""


class Blobs(Protocol):
    """Holds bytes under names that nobody can guess."""

    async def create(self, blob_id: str, size: int, promised: int) -> None:
        """Begin an empty blob that will have ``size`` bytes. All that were begun will have
        ``promised`` bytes.

        Raises:
            StorageFull: there is no room for them.
        """

    async def size(self, blob_id: str) -> int | None:
        """How many bytes of it are here. None: it was removed."""

    def appending(self, blob_id: str, offset: int) -> AbstractAsyncContextManager[Writer]:
        """Appends to a blob that ends at ``offset``. What was flushed is kept however the block
        ends, and is on disk if it ends well.

        Raises:
            NotFound: the blob was removed.
        """

    async def truncate(self, blob_id: str, size: int) -> None:
        """Remove what was appended beyond ``size``."""

    async def add(self, blob_id: str, path: Path) -> int:
        """Make the file ``path`` a blob as well, on disk. Returns its size.

        Raises:
            StorageFull, Unavailable
        """

    def local(self, blob_id: str, size: int) -> AbstractAsyncContextManager[Path]:
        """A file of this machine with all ``size`` bytes of a blob, for the time of the block.

        Raises:
            NotFound: the blob was removed.
            StorageFull
        """

    async def content(self, blob_id: str, size: int) -> AsyncIterator[bytes]:
        """All ``size`` bytes of a blob, a few at a time.

        Raises:
            NotFound: the blob was removed. The iterator raises it, too.
        """

    async def between(self, first: str, end: str) -> list[str]:
        """The blobs whose names are not less than ``first``, and less than ``end``."""

    async def remove(self, blob_ids: Collection[str]) -> None: ...


class FolderBlobs:
    """`Blobs` that are files. The length of a file is the blob's size, so no second
    record could disagree with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def create(self, blob_id: str, size: int, promised: int) -> None:
        try:
            free = await asyncio.to_thread(self._free, promised)
            if free < size + _SPARE_BYTES:
                raise full()
            await asyncio.to_thread(self._path(blob_id).touch, 0o600)
        except OSError as error:
            raise full() from error

    async def size(self, blob_id: str) -> int | None:
        try:
            return self._path(blob_id).stat().st_size
        except FileNotFoundError:
            return None

    @asynccontextmanager
    async def appending(self, blob_id: str, offset: int) -> AsyncIterator[Writer]:
        try:
            file = self._path(blob_id).open("r+b", buffering=0)
        except FileNotFoundError:
            raise removed() from None
        with file:
            file.seek(offset)
            yield _FileWriter(file.fileno())
            await asyncio.to_thread(os.fsync, file.fileno())

    async def truncate(self, blob_id: str, size: int) -> None:
        with suppress(FileNotFoundError):
            os.truncate(self._path(blob_id), size)

    async def add(self, blob_id: str, path: Path) -> int:
        target = self._path(blob_id)
        try:
            return await asyncio.to_thread(_link, path, target)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise full() from error

    @asynccontextmanager
    async def local(self, blob_id: str, size: int) -> AsyncIterator[Path]:
        path = self._path(blob_id)
        if not path.exists():
            raise removed()
        yield path

    async def content(self, blob_id: str, size: int) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._path(blob_id).open, "rb")
        except FileNotFoundError:
            raise removed() from None

        async def pieces() -> AsyncIterator[bytes]:
            with file:
                while piece := await asyncio.to_thread(file.read, _READ):
                    yield piece

        return pieces()

    async def between(self, first: str, end: str) -> list[str]:
        names = await asyncio.to_thread(os.listdir, self._folder)
        return [name for name in names if first <= name < end]

    async def remove(self, blob_ids: Collection[str]) -> None:
        for blob_id in blob_ids:
            self._path(blob_id).unlink(missing_ok=True)

    def _path(self, blob_id: str) -> Path:
        return self._folder / blob_id

    def _free(self, promised: int) -> int:
        """The bytes of the disk that are free and not ``promised`` to an upload."""
        here = 0
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # it was removed meanwhile
                here += entry.stat().st_size
        return shutil.disk_usage(self._folder).free - max(0, promised - here)


class _FileWriter:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write(self, piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise full() from error

    async def flush(self) -> None:
        """Nothing to do: what is written counts at once."""


def sync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(source: Path, target: Path) -> int:
    """Make ``target`` the file ``source`` as well, on disk. Returns its size."""
    sync(source)
    os.link(source, target)
    sync(target.parent)
    return target.stat().st_size


def full() -> StorageFull:
    return StorageFull("The server has no room for the file; try later.")


def removed() -> NotFound:
    return NotFound("The file was deleted.")
