"""Uploads that come in pieces, and go on after a lost connection or a killed server.

The size of an upload's blob is its offset, so there is no second record that could
disagree.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reflector_gpu.errors import (
    ChecksumMismatch,
    Conflict,
    InvalidRequest,
    NotFound,
    Overloaded,
    TooLarge,
    Unavailable,
)
from reflector_gpu.jobs.allowance import UNLIMITED, Allowance
from reflector_gpu.jobs.blob_rows import BlobRows
from reflector_gpu.jobs.blobs import Blobs, Writer
from reflector_gpu.jobs.job import new_id
from reflector_gpu.jobs.unbroken import Unbroken
from reflector_gpu.store.database import Connection, Database, Row

ALGORITHMS = ("sha1", "sha256", "md5")
"""Of checksums."""

_MOST_OPEN = 1000  # uploads of one owner
_LEASE = 5.0  # seconds without a byte, after which another server may go on


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload of ``length`` bytes, removed at ``expires``. The first ``offset`` bytes have come.

    ``metadata`` is as the client wrote it.
    """

    id: str
    length: int
    offset: int
    name: str
    metadata: str
    expires: float

    @property
    def complete(self) -> bool:
        return self.offset == self.length


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum that the bytes of one request should have."""

    algorithm: str
    digest: bytes


class Uploads:
    """All uploads, as blobs and in a table. For one event loop."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        unbroken: Unbroken,
        *,
        limit: int,
        allowance: Allowance = UNLIMITED,
        keep_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """An upload may have ``limit`` bytes, and is removed ``keep_seconds`` after its last."""
        self.limit = limit
        self._database = database
        self._blobs = blobs
        self._rows = BlobRows(database, blobs, "upload")
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._unbroken = unbroken
        self._allowance = allowance
        self._server = secrets.token_hex(8)
        self._writing: dict[str, object] = {}

    async def release_all(self) -> None:
        """Let all uploads go on. The caller knows that no other server is alive."""
        await self._database.write(lambda c: c.change("UPDATE uploads SET writer = NULL"))

    async def create(self, owner: str, length: int, name: str, metadata: str) -> Upload:
        """
        Raises:
            TooLarge, StorageFull: there is no room for ``length`` bytes.
            Overloaded: ``owner`` has too many uploads, or keeps as much as it may.
        """
        if length > self.limit:
            raise TooLarge(f"This server takes files of at most {self.limit} bytes.")
        return await self._unbroken.run(self._create(owner, length, name, metadata))

    async def _create(self, owner: str, length: int, name: str, metadata: str) -> Upload:
        upload_id, now = new_id("upload"), self._clock()
        await self._blobs.create(upload_id, length, await self._promised())

        def insert(connection: Connection) -> None:
            found = connection.rows("SELECT count(*) AS n FROM uploads WHERE owner = ?", owner)
            if int(found[0]["n"] or 0) >= _MOST_OPEN:
                raise Overloaded(
                    f"You have {_MOST_OPEN} uploads; delete some, or wait until they expire.",
                    retry_after=3600.0,
                )
            self._allowance.check(connection, owner, length)
            connection.change(
                "INSERT INTO uploads (id, owner, length, name, metadata, expires)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                upload_id,
                owner,
                length,
                name,
                metadata,
                now + self._keep_seconds,
            )

        await self._rows.add(upload_id, insert)
        return Upload(upload_id, length, 0, name, metadata, now + self._keep_seconds)

    async def _promised(self) -> int:
        """The bytes of all uploads, once they are here."""
        found = await self._database.read(
            lambda c: c.rows("SELECT coalesce(sum(length), 0) AS n FROM uploads")
        )
        return int(found[0]["n"] or 0)

    async def get(self, owner: str, upload_id: str) -> Upload:
        """
        Raises:
            NotFound
        """
        found = await self._database.read(
            lambda c: c.rows("SELECT * FROM uploads WHERE id = ? AND owner = ?", upload_id, owner)
        )
        offset = await self._blobs.size(upload_id) if found else None
        if offset is None or float(found[0]["expires"] or 0) < self._clock():
            raise NotFound("There is no such upload; it may have expired or been deleted.")
        return _upload(found[0], offset)

    async def append(
        self,
        upload: Upload,
        offset: int,
        pieces: AsyncIterator[bytes],
        checksum: Checksum | None = None,
    ) -> Upload:
        """Append ``pieces``. What came before an error stays, unless it has a ``checksum``.

        A request for the same upload that still runs here, because its client is gone, ends. One
        that runs on another server is let alone until no byte has come to it for a while.

        Raises:
            Conflict: the upload does not end at ``offset``, or another request goes on with it.
            TooLarge: more bytes come than the upload has.
            ChecksumMismatch
            StorageFull
        """
        await self._hold(upload, offset)
        begun = offset
        mark = self._writing[upload.id] = object()
        hashed = hashlib.new(checksum.algorithm) if checksum else None
        try:
            async with (
                self._blobs.appending(upload.id, offset) as writer,
                aclosing(self._own(upload, writer, mark, offset, pieces)) as own,
            ):
                try:
                    async for piece in own:
                        await writer.write(piece)
                        offset += len(piece)
                        if hashed:
                            hashed.update(piece)
                finally:
                    if self._writing.get(upload.id) is mark:
                        await writer.flush()
                if checksum and hashed and hashed.digest() != checksum.digest:
                    raise ChecksumMismatch("The bytes do not give the Upload-Checksum.")
        except BaseException:
            if checksum and self._writing.get(upload.id) is mark:
                await self._take_back(upload, begun)
            raise
        finally:
            if self._writing.get(upload.id) is mark:
                del self._writing[upload.id]
                with suppress(Unavailable):  # then the lease ends by itself
                    await self._release(upload)
        until = self._clock() + self._keep_seconds
        return Upload(upload.id, upload.length, offset, upload.name, upload.metadata, until)

    async def _own(
        self,
        upload: Upload,
        writer: Writer,
        mark: object,
        offset: int,
        pieces: AsyncIterator[bytes],
    ) -> AsyncGenerator[bytes]:
        """The ``pieces`` from ``offset`` on, as long as the request with the ``mark`` may write."""
        held = self._clock()
        async for piece in pieces:
            if self._clock() - held > _LEASE / 3:
                await writer.flush()
                await self._hold(upload, offset)
                held = self._clock()
            if self._writing.get(upload.id) is not mark:
                raise Conflict("Another request goes on with this upload.")
            offset += len(piece)
            if offset > upload.length:
                raise TooLarge(f"The upload has {upload.length} bytes, and no more.")
            yield piece

    async def _hold(self, upload: Upload, offset: int) -> None:
        """Let no other server write for a while, and put off its removal, as a new byte does.
        Within this server, the last request writes.

        Raises:
            Conflict: another server writes, or the upload does not end at ``offset``.
            NotFound
        """
        await self._check_offset(upload, offset)  # a wrong one must not put off the removal
        now = self._clock()
        held = await self._database.note(
            lambda c: c.change(
                "UPDATE uploads SET writer = ?, held = ?, expires = ? WHERE id = ?"
                " AND (writer IS NULL OR writer = ? OR held < ?)",
                self._server,
                now + _LEASE,
                now + self._keep_seconds,
                upload.id,
                self._server,
                now,
            )
        )
        if not held:
            raise Conflict("Another server takes bytes of this upload; try again in a moment.")
        await self._check_offset(upload, offset)  # another server may have written until now

    async def _check_offset(self, upload: Upload, offset: int) -> None:
        if (size := await self._blobs.size(upload.id)) is None:
            raise NotFound("The upload was deleted.")
        if size != offset:
            raise Conflict(f"The upload is at byte {size}; go on from there.")

    async def _take_back(self, upload: Upload, offset: int) -> None:
        """Remove what a request has appended, unless another server has gone on from there."""
        with suppress(Unavailable):
            if await self._still_holds(upload):
                await self._blobs.truncate(upload.id, offset)

    async def _still_holds(self, upload: Upload) -> bool:
        """Whether no other server has written since `_hold`. None does so for a while, then."""
        until = self._clock() + _LEASE
        held = await self._database.note(
            lambda c: c.change(
                "UPDATE uploads SET held = ? WHERE id = ? AND writer = ?",
                until,
                upload.id,
                self._server,
            )
        )
        return held > 0

    async def _release(self, upload: Upload) -> None:
        until = self._clock() + self._keep_seconds
        await self._database.write(
            lambda c: c.change(
                "UPDATE uploads SET writer = NULL, expires = ? WHERE id = ? AND writer = ?",
                until,
                upload.id,
                self._server,
            )
        )

    @asynccontextmanager
    async def recording(self, owner: str, upload_id: str) -> AsyncIterator[tuple[Path, str]]:
        """A file with an upload that is complete, and its name, for the time of the block.

        Raises:
            InvalidRequest: there is none, or it is not complete.
        """
        try:
            upload = await self.get(owner, upload_id)
        except NotFound as error:
            raise InvalidRequest(error.message, param="upload_id") from None
        if not upload.complete:
            raise InvalidRequest(
                f"The upload has {upload.offset} of its {upload.length} bytes; send the others.",
                param="upload_id",
            )
        async with self._blobs.local(upload_id, upload.length) as path:
            yield path, upload.name

    async def remove(self, owner: str, upload_id: str) -> None:
        """
        Raises:
            NotFound
        """
        await self.get(owner, upload_id)
        self._writing.pop(upload_id, None)
        await self._rows.remove(upload_id)

    async def sweep(self) -> None:
        """Remove what has expired, and what was left behind."""
        await self._rows.sweep(self._clock())


def _upload(row: Row, offset: int) -> Upload:
    return Upload(
        str(row["id"]),
        int(row["length"] or 0),
        offset,
        str(row["name"]),
        str(row["metadata"]),
        float(row["expires"] or 0),
    )
