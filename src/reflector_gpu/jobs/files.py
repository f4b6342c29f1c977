"""Files that clients leave here for batches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reflector_gpu.errors import NotFound, StorageFull
from reflector_gpu.jobs.job import new_id
from reflector_gpu.store.database import Database, Row


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
    """The files of all owners, in a folder and a table."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        keep_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._folder = folder
        self._keep_seconds = keep_seconds
        self._clock = clock

    async def add(self, owner: str, name: str, purpose: str, path: Path) -> KeptFile:
        """Keep the file ``path`` too.

        Raises:
            StorageFull
        """
        now = self._clock()
        found = KeptFile(new_id("file"), name, purpose, _size(path), now, now + self._keep_seconds)
        try:
            os.link(path, self.path(found.id))
        except OSError as error:
            raise StorageFull("The server has no room for the file; try later.") from error
        await self._database.write(
            lambda c: c.change(
                "INSERT INTO files (id, owner, name, purpose, size, created, expires)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                found.id,
                owner,
                name,
                purpose,
                found.size,
                found.created,
                found.expires,
            )
        )
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
                "SELECT * FROM files WHERE owner = ? AND expires > ? ORDER BY id DESC LIMIT 1000",
                owner,
                self._clock(),
            )
        )
        return [_file(row) for row in found]

    async def remove(self, owner: str, file_id: str) -> None:
        """
        Raises:
            NotFound
        """
        await self.get(owner, file_id)
        await self._erase([file_id])

    async def sweep(self) -> None:
        """Remove what has expired."""
        found = await self._database.read(
            lambda c: c.rows("SELECT id FROM files WHERE expires < ?", self._clock())
        )
        await self._erase([str(row["id"]) for row in found])

    def path(self, file_id: str) -> Path:
        return self._folder / file_id

    async def _erase(self, file_ids: list[str]) -> None:
        for file_id in file_ids:
            self.path(file_id).unlink(missing_ok=True)
        marks = ", ".join("?" * len(file_ids))
        if file_ids:
            await self._database.write(
                lambda c: c.change(f"DELETE FROM files WHERE id IN ({marks})", *file_ids)
            )


def _size(path: Path) -> int:
    return path.stat().st_size


def _file(row: Row) -> KeptFile:
    return KeptFile(
        str(row["id"]),
        str(row["name"]),
        str(row["purpose"]),
        int(row["size"] or 0),
        float(row["created"] or 0),
        float(row["expires"] or 0),
    )
