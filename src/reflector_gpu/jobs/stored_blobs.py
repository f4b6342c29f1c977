"""The bytes of uploads and of files in the database, where servers share no folder."""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import IO

from reflector_gpu.errors import Conflict, NotFound
from reflector_gpu.jobs.blobs import Writer, full, removed
from reflector_gpu.store.database import Connection, Database

_PIECE = 1_000_000  # bytes of a row
_LONGEST_HELD = 0.25  # seconds, after which a row has fewer


class StoredBlobs:
    """`Blobs` that are rows of the database."""

    def __init__(self, database: Database, scratch: Path) -> None:
        """Copies that are needed for a moment lie in the folder ``scratch``."""
        self._database = database
        self._scratch = scratch

    async def create(self, blob_id: str, size: int, promised: int) -> None:
        """There are no rows until bytes come."""

    async def size(self, blob_id: str) -> int | None:
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT position + length(body) AS size FROM blobs WHERE id = ?"
                " ORDER BY position DESC LIMIT 1",
                blob_id,
            )
        )
        return int(found[0]["size"] or 0) if found else 0

    @asynccontextmanager
    async def appending(self, blob_id: str, offset: int) -> AsyncIterator[Writer]:
        yield _StoredWriter(self._database, blob_id, offset)

    async def truncate(self, blob_id: str, size: int) -> None:
        await self._database.note(
            lambda c: c.change("DELETE FROM blobs WHERE id = ? AND position >= ?", blob_id, size)
        )

    async def add(self, blob_id: str, path: Path) -> int:
        size = 0
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    await self._insert(blob_id, size, piece)
                    size += len(piece)
        except BaseException:
            await self.remove([blob_id])
            raise
        return size

    @asynccontextmanager
    async def local(self, blob_id: str, size: int) -> AsyncIterator[Path]:
        pieces = await self.content(blob_id, size)
        with ExitStack() as resources:
            try:
                # Without a buffer, which a full disk would have fail once more when it is closed.
                file = resources.enter_context(
                    tempfile.NamedTemporaryFile(dir=self._scratch, buffering=0)
                )
                async for piece in pieces:
                    await asyncio.to_thread(_write, file, piece)
            except OSError as error:
                raise full() from error
            yield Path(file.name)

    async def content(self, blob_id: str, size: int) -> AsyncIterator[bytes]:
        first = await self._piece(blob_id, 0) if size else b""

        async def pieces() -> AsyncIterator[bytes]:
            piece, position = first, 0
            while piece:
                yield piece
                position += len(piece)
                piece = await self._piece(blob_id, position) if position < size else b""

        return pieces()

    async def between(self, first: str, end: str) -> list[str]:
        found = await self._database.read(
            lambda c: c.rows("SELECT DISTINCT id FROM blobs WHERE id >= ? AND id < ?", first, end)
        )
        return [str(row["id"]) for row in found]

    async def remove(self, blob_ids: Collection[str]) -> None:
        marks = ", ".join("?" * len(blob_ids))
        await self._database.write(
            lambda c: c.change(f"DELETE FROM blobs WHERE id IN ({marks})", *blob_ids)
        )

    async def _piece(self, blob_id: str, position: int) -> bytes:
        """
        Raises:
            NotFound: the blob was removed.
        """
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT body FROM blobs WHERE id = ? AND position = ?", blob_id, position
            )
        )
        body = found[0]["body"] if found else None
        if not isinstance(body, bytes):
            raise removed()
        return body

    async def _insert(self, blob_id: str, position: int, piece: bytes) -> None:
        # The commit of the row that it belongs to, which comes last, has the disk keep these.
        await self._database.note(
            lambda c: c.change(
                "INSERT INTO blobs (id, position, body) VALUES (?, ?, ?)", blob_id, position, piece
            )
        )


class _StoredWriter:
    """Appends to the blob of an upload."""

    def __init__(self, database: Database, blob_id: str, offset: int) -> None:
        self._database = database
        self._id = blob_id
        self._offset = offset
        self._held = bytearray()
        self._flushed = -math.inf

    async def write(self, piece: bytes) -> None:
        self._held += piece
        late = time.monotonic() - self._flushed > _LONGEST_HELD
        if late or len(self._held) >= _PIECE:
            await self.flush()

    async def flush(self) -> None:
        self._flushed = time.monotonic()
        if not self._held:
            return
        body, self._held = bytes(self._held), bytearray()
        offset = self._offset

        def work(connection: Connection) -> None:
            if not connection.rows("SELECT 1 FROM uploads WHERE id = ?", self._id):
                raise NotFound("The upload was deleted.")
            if not connection.change(
                "INSERT INTO blobs (id, position, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                self._id,
                offset,
                body,
            ):
                raise Conflict("Another server goes on with this upload.")

        await self._database.note(work)
        self._offset += len(body)


def _write(file: IO[bytes], piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]
