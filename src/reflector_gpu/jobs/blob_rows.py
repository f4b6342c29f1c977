"""Rows that have a blob each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reflector_gpu.jobs.blobs import Blobs
from reflector_gpu.jobs.job import stray_before
from reflector_gpu.jobs.unbroken import row_or_forget
from reflector_gpu.store.database import Connection, Database

_SWEPT = 500  # rows or blobs at once


class BlobRows:
    """The rows of a table with the blobs that have the same ids.

    A blob comes before its row and goes after it, so whatever has a row is here.
    """

    def __init__(self, database: Database, blobs: Blobs, kind: Literal["file", "upload"]) -> None:
        self._database = database
        self._blobs = blobs
        self._kind = kind
        self._table = f"{kind}s"

    async def add(self, row_id: str, insert: Callable[[Connection], None]) -> None:
        """Give a blob its row; without one it does not stay."""
        await row_or_forget(self._database.write(insert), lambda: self._blobs.remove([row_id]))

    async def remove(self, row_id: str) -> None:
        await self._database.write(
            lambda c: c.change(f"DELETE FROM {self._table} WHERE id = ?", row_id)
        )
        await self._blobs.remove([row_id])

    async def sweep(self, now: float) -> None:
        """Remove what has expired, and blobs without a row."""
        while expired := await self._database.write(lambda c: self._take_expired(c, now)):
            await self._blobs.remove(expired)
        if strays := await self._strays():
            await self._blobs.remove(strays[:_SWEPT])  # the next sweep removes the others

    def _take_expired(self, connection: Connection, now: float) -> list[str]:
        # PostgreSQL looks at the outer condition again if another server has just changed the row.
        found = connection.rows(
            f"DELETE FROM {self._table} WHERE expires < ? AND id IN"
            f" (SELECT id FROM {self._table} WHERE expires < ? LIMIT ?) RETURNING id",
            now,
            now,
            _SWEPT,
        )
        return [str(row["id"]) for row in found]

    async def _strays(self) -> list[str]:
        end = stray_before(self._kind)
        blobs = await self._blobs.between(f"{self._kind}_", end)
        if not blobs:
            return []
        rows = await self._database.read(
            lambda c: c.rows(f"SELECT id FROM {self._table} WHERE id < ?", end)
        )
        return list(set(blobs) - {str(row["id"]) for row in rows})
