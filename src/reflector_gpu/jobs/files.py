"""Files that clients leave here for batches."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from reflector_gpu.errors import NotFound, Overloaded
from reflector_gpu.jobs.allowance import UNLIMITED, Allowance
from reflector_gpu.jobs.blob_rows import BlobRows
from reflector_gpu.jobs.blobs import Blobs
from reflector_gpu.jobs.job import new_id
from reflector_gpu.jobs.unbroken import Unbroken
from reflector_gpu.store.database import Connection, Database, Row

_MOST = 1000  # files of one owner


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of so many bytes; it is removed at ``expires``."""

    id: str
    name: str
    purpose: str
    size: int
    created: float
    expires: float


class Files:
    """The files of all owners, as blobs and in a table."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        keep_seconds: float,
        unbroken: Unbroken,
        allowance: Allowance = UNLIMITED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._rows = BlobRows(database, blobs, "file")
        self._keep_seconds = keep_seconds
        self._unbroken = unbroken
        self._allowance = allowance
        self._clock = clock

    async def add(self, owner: str, name: str, purpose: str, path: Path) -> KeptFile:
        """Keep the file ``path`` here as well.

        Raises:
            StorageFull
            Overloaded, TooLarge: ``owner`` keeps as much as it may.
        """
        return await self._unbroken.run(self._add(owner, name, purpose, path))

    async def _add(self, owner: str, name: str, purpose: str, path: Path) -> KeptFile:
        now = self._clock()
        file_id = new_id("file")
        size = await self._blobs.add(file_id, path)
        found = KeptFile(file_id, name, purpose, size, now, now + self._keep_seconds)
        await self._rows.add(file_id, lambda c: self._insert(c, owner, found))
        return found

    async def get(self, owner: str, file_id: str) -> KeptFile:
        """
        Raises:
            NotFound
        """
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT * FROM files WHERE id = ? AND owner = ? AND expires > ?",
                file_id,
                owner,
                self._clock(),
            )
        )
        if not found:
            raise NotFound("There is no such file; it may have expired or been deleted.")
        return _file(found[0])

    async def listed(self, owner: str) -> list[KeptFile]:
        """The newest files first."""
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT * FROM files WHERE owner = ? AND expires > ? ORDER BY id DESC LIMIT ?",
                owner,
                self._clock(),
                _MOST,
            )
        )
        return [_file(row) for row in found]

    async def remove(self, owner: str, file_id: str) -> None:
        """
        Raises:
            NotFound
        """
        await self.get(owner, file_id)
        await self._rows.remove(file_id)

    async def sweep(self) -> None:
        """Remove what has expired, and what was left behind."""
        await self._rows.sweep(self._clock())

    def _insert(self, connection: Connection, owner: str, file: KeptFile) -> None:
        found = connection.rows("SELECT count(*) AS n FROM files WHERE owner = ?", owner)
        if int(found[0]["n"] or 0) >= _MOST:
            raise Overloaded(
                f"You have {_MOST} files; delete some, or wait until they expire.",
                retry_after=3600.0,
            )
        self._allowance.check(connection, owner, file.size)
        connection.change(
            "INSERT INTO files (id, owner, name, purpose, size, created, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            file.id,
            owner,
            file.name,
            file.purpose,
            file.size,
            file.created,
            file.expires,
        )

    def local(self, file: KeptFile) -> AbstractAsyncContextManager[Path]:
        """The file on this machine, for the time of the block.

        Raises:
            NotFound: it was removed.
        """
        return self._blobs.local(file.id, file.size)

    async def content(self, file: KeptFile) -> AsyncIterator[bytes]:
        """What is in the file, a few bytes at a time.

        Raises:
            NotFound: it was removed.
        """
        return await self._blobs.content(file.id, file.size)


def _file(row: Row) -> KeptFile:
    return KeptFile(
        str(row["id"]),
        str(row["name"]),
        str(row["purpose"]),
        int(row["size"] or 0),
        float(row["created"] or 0),
        float(row["expires"] or 0),
    )
