"""What jobs need of a folder, where servers share a database and no folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from reflector_gpu.audio.scratch import ScratchFolder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import ConfigurationError, Unavailable
from reflector_gpu.jobs.folder import JobFolder, storing
from reflector_gpu.jobs.job import stray_before
from reflector_gpu.jobs.stored_blobs import StoredBlobs
from reflector_gpu.store.database import Database

_PIECE = 1_000_000  # bytes of a row


class StoredFolder(JobFolder):
    """Keeps everything in the database. What is in the folder itself is for this server alone. It
    goes when this server ends or, if that is killed, when the next one starts."""

    copies = True

    def __init__(self, database: Database, limit: int, directory: Path | None) -> None:
        """The folder is made in ``directory``, or in the system's temporary one.

        Raises:
            ConfigurationError: it cannot be.
        """
        self._database = database
        self._scratch = ScratchFolder(directory)
        try:
            root = Path(os.fspath(self._scratch))
        except OSError as error:
            raise ConfigurationError(
                "REFLECTOR_SPOOL_DIR: no folder for the recordings of jobs can be made there: "
                f"{error.strerror}."
            ) from error
        super().__init__(root, limit)
        self.uploads = self.files = StoredBlobs(database, self._incoming)

    def release(self) -> None:
        super().release()
        self._scratch.close()

    async def _keep(self, job_id: str, path: Path) -> int:
        with storing(), await asyncio.to_thread(path.open, "rb") as file:
            return await self._store(job_id, file)

    async def forget(self, job_id: str) -> None:
        with suppress(Unavailable):  # then they are removed when all that is stray is
            await self._database.note(
                lambda c: c.change("DELETE FROM recordings WHERE job = ?", job_id)
            )

    @asynccontextmanager
    async def recording(
        self, job_id: str, fetch: Callable[[Spool], Awaitable[None]]
    ) -> AsyncIterator[Spool]:
        async def stored_or_fetched(spool: Spool) -> None:
            if not await self._read(job_id, spool):
                await fetch(spool)

        try:
            async with super().recording(job_id, stored_or_fetched) as spool:
                yield spool
        finally:
            self.remove(job_id)  # another server may go on, and nobody would remove it then

    async def sweep(self) -> None:
        before = stray_before("job")
        await self._database.note(
            lambda c: c.change(
                "DELETE FROM recordings WHERE job < ? AND job NOT IN (SELECT id FROM jobs)", before
            )
        )

    async def _store(self, job_id: str, file: BinaryIO) -> int:
        number = size = 0
        while piece := await asyncio.to_thread(file.read, _PIECE):
            await self._add(job_id, number, piece)
            number, size = number + 1, size + len(piece)
        return size

    async def _add(self, job_id: str, number: int, piece: bytes) -> None:
        # The commit of the job's row, which comes last, has the disk keep these as well.
        await self._database.note(
            lambda c: c.change(
                "INSERT INTO recordings (job, number, body) VALUES (?, ?, ?)", job_id, number, piece
            )
        )

    async def _read(self, job_id: str, spool: Spool) -> bool:
        """Fill ``spool`` with what is stored, if anything is."""
        number = 0
        while (piece := await self._piece(job_id, number)) is not None:
            spool.write(piece)
            number += 1
        if number:
            spool.finish()
        return number > 0

    async def _piece(self, job_id: str, number: int) -> bytes | None:
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT body FROM recordings WHERE job = ? AND number = ?", job_id, number
            )
        )
        body = found[0]["body"] if found else None
        return body if isinstance(body, bytes) else None
