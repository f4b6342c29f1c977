"""Who may append to an upload, if several servers share it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from reflector_gpu.errors import (
    ChecksumMismatch,
    Conflict,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from reflector_gpu.jobs import stored_blobs
from reflector_gpu.jobs.blobs import FolderBlobs
from reflector_gpu.jobs.stored_blobs import StoredBlobs
from reflector_gpu.jobs.unbroken import Unbroken
from reflector_gpu.jobs.uploads import Checksum, Upload, Uploads
from reflector_gpu.store.database import Connection, Database, sqlite_in

T = TypeVar("T")

KEPT = 1000.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Pieces:
    """The body of a request whose client sends when it is told to."""

    def __init__(self) -> None:
        self._sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.read = asyncio.Event()
        """All that was sent has been read, and is in the file."""

    def send(self, piece: bytes) -> None:
        self.read.clear()
        self._sent.put_nowait(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if self._sent.empty():
                self.read.set()
            if not (piece := await self._sent.get()):
                return
            yield piece


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["folder", "database"])
def servers(
    tmp_path: Path, clock: Clock, request: pytest.FixtureRequest
) -> Iterator[list[Uploads]]:
    """Two that share a folder, or a database alone."""
    databases = [sqlite_in(tmp_path) for _ in range(2)]

    def server(database: Database) -> Uploads:
        shared = request.param == "folder"
        blobs = FolderBlobs(tmp_path) if shared else StoredBlobs(database, tmp_path)
        return Uploads(database, blobs, Unbroken(), limit=1000, keep_seconds=KEPT, clock=clock)

    yield [server(database) for database in databases]
    for database in databases:
        database.close()


async def one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


async def begun(server: Uploads) -> tuple[Upload, Pieces, asyncio.Task[Upload]]:
    """An upload whose first three bytes are here, and whose request goes on."""
    upload = await server.create("me", 10, "a.wav", "")
    pieces = Pieces()
    task = asyncio.create_task(server.append(upload, 0, aiter(pieces)))
    pieces.send(b"abc")
    await pieces.read.wait()
    return upload, pieces, task


def test_a_second_server_is_told_to_wait(servers: list[Uploads]) -> None:
    first, second = servers

    async def run() -> None:
        upload, pieces, task = await begun(first)
        with pytest.raises(Conflict, match="Another server"):
            await second.append(upload, 3, one(b"XYZ"))
        pieces.send(b"def")
        pieces.send(b"")
        assert (await task).offset == 6
        assert (await second.append(upload, 6, one(b"ghij"))).complete
        async with first.recording("me", upload.id) as (path, _):
            assert path.read_bytes() == b"abcdefghij"

    asyncio.run(run())


def test_a_server_that_was_silent_has_lost_the_upload(servers: list[Uploads], clock: Clock) -> None:
    first, second = servers

    async def run() -> None:
        upload, pieces, task = await begun(first)
        clock.now += 60
        assert (await second.append(upload, 3, one(b"XYZ"))).offset == 6
        pieces.send(b"def")
        with pytest.raises(Conflict, match="byte 6"):
            await task
        assert (await second.append(upload, 6, one(b"1234"))).complete
        async with first.recording("me", upload.id) as (path, _):
            assert path.read_bytes() == b"abcXYZ1234"

    asyncio.run(run())


def test_an_upload_goes_on_at_once_when_its_server_starts_again(servers: list[Uploads]) -> None:
    killed, following = servers

    async def run() -> None:
        upload, _, task = await begun(killed)
        await following.release_all()
        assert (await following.append(upload, 3, one(b"defghij"))).complete
        task.cancel()

    asyncio.run(run())


def test_each_byte_keeps_an_upload_for_longer(servers: list[Uploads], clock: Clock) -> None:
    server = servers[0]

    async def run() -> None:
        upload = await server.create("me", 10, "a.wav", "")
        clock.now += KEPT - 1
        upload = await server.append(upload, 0, one(b"abc"))
        assert upload.expires == clock.now + KEPT
        clock.now += KEPT - 1
        await server.sweep()
        assert (await server.get("me", upload.id)).offset == 3
        clock.now += 2
        with pytest.raises(NotFound):
            await server.get("me", upload.id)
        await server.sweep()
        with pytest.raises(InvalidRequest):
            async with server.recording("me", upload.id):
                pass

    asyncio.run(run())


def test_an_upload_is_kept_for_as_long_as_its_bytes_come(
    servers: list[Uploads], clock: Clock
) -> None:
    first, second = servers

    async def run() -> None:
        upload, pieces, task = await begun(first)
        for piece in (b"def", b"ghi", b"j"):
            clock.now += KEPT - 1
            pieces.send(piece)
            await pieces.read.wait()
            await second.sweep()
            assert await second.get("me", upload.id)
        pieces.send(b"")
        assert (await task).complete
        async with first.recording("me", upload.id) as (path, _):
            assert path.read_bytes() == b"abcdefghij"

    asyncio.run(run())


def test_a_wrong_offset_keeps_no_upload_for_longer(servers: list[Uploads], clock: Clock) -> None:
    first, second = servers

    async def run() -> None:
        upload = await first.create("me", 10, "a.wav", "")
        clock.now += KEPT - 1
        with pytest.raises(Conflict, match="byte 0"):
            await first.append(upload, 3, one(b"abc"))
        assert (await second.get("me", upload.id)).expires == upload.expires
        assert (await second.append(upload, 0, one(b"abc"))).offset == 3

    asyncio.run(run())


class Hurried(Database):
    """Does ``first`` before it writes for the first time."""

    def __init__(self, inner: Database, first: Callable[[], Awaitable[object]]) -> None:
        self._inner = inner
        self._first: Callable[[], Awaitable[object]] | None = first

    async def write(self, work: Callable[[Connection], T]) -> T:
        first, self._first = self._first, None
        if first:
            await first()
        return await self._inner.write(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.read(work)


def test_an_upload_that_goes_on_when_it_should_be_swept_is_kept(
    tmp_path: Path, clock: Clock
) -> None:
    database, blobs = sqlite_in(tmp_path), FolderBlobs(tmp_path)

    def server(database: Database) -> Uploads:
        return Uploads(database, blobs, Unbroken(), limit=1000, keep_seconds=KEPT, clock=clock)

    async def run() -> None:
        writing = server(database)
        upload = await writing.create("me", 10, "a.wav", "")
        clock.now += KEPT + 1
        hurried = Hurried(database, lambda: writing.append(upload, 0, one(b"abc")))
        await server(hurried).sweep()
        assert (await writing.get("me", upload.id)).offset == 3

    asyncio.run(run())
    database.close()


def test_what_does_not_give_its_checksum_is_not_kept(servers: list[Uploads]) -> None:
    server = servers[0]

    async def run() -> None:
        upload = await server.create("me", 10, "a.wav", "")
        upload = await server.append(upload, 0, one(b"abc"))
        wrong = Checksum("md5", b"no digest")
        with pytest.raises(ChecksumMismatch):
            await server.append(upload, 3, one(b"XYZ"), wrong)
        assert (await server.get("me", upload.id)).offset == 3
        right = Checksum("md5", hashlib.md5(b"defghij").digest())
        assert (await server.append(upload, 3, one(b"defghij"), right)).complete

    asyncio.run(run())


class Fails(Database):
    """Raises ``next_fails`` from the next note. That is written all the same if it ``notes_it``, as
    when a client leaves in the middle."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.next_fails: BaseException | None = None
        self.notes_it = False

    async def note(self, work: Callable[[Connection], T]) -> T:
        error, self.next_fails = self.next_fails, None
        if error is None or self.notes_it:
            done = await self._inner.note(work)
        if error:
            raise error
        return done

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.write(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.read(work)


@pytest.mark.parametrize("error", [Unavailable("It is silent."), asyncio.CancelledError()])
def test_what_a_request_with_a_checksum_has_left_half_done_is_not_kept(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The database fails at the last bytes, or the client leaves while the first are written."""
    monkeypatch.setattr(stored_blobs, "_LONGEST_HELD", 60.0)
    database = Fails(inner := sqlite_in(tmp_path))
    database.notes_it = leaves = isinstance(error, asyncio.CancelledError)
    blobs = StoredBlobs(database, tmp_path)
    server = Uploads(database, blobs, Unbroken(), limit=1000, keep_seconds=KEPT, clock=clock)

    async def two() -> AsyncIterator[bytes]:
        if leaves:
            database.next_fails = error
        yield b"def"
        yield b"ghi"
        database.next_fails = error

    async def run() -> None:
        upload = await server.create("me", 10, "a.wav", "")
        upload = await server.append(upload, 0, one(b"abc"))
        with pytest.raises(type(error)):
            await server.append(upload, 3, two(), Checksum("md5", b"no digest"))
        assert (await server.get("me", upload.id)).offset == 3

    asyncio.run(run())
    inner.close()


def test_an_upload_that_was_deleted_takes_no_more(servers: list[Uploads]) -> None:
    first, second = servers

    async def run() -> None:
        upload, pieces, task = await begun(first)
        await second.remove("me", upload.id)
        pieces.send(b"def")
        pieces.send(b"")
        with suppress(NotFound):  # the file that was open has them, and no name
            await task
        with pytest.raises(NotFound):
            await first.get("me", upload.id)

    asyncio.run(run())


def test_a_wrong_offset_disturbs_no_request_that_goes_on(servers: list[Uploads]) -> None:
    server = servers[0]

    async def run() -> None:
        upload, pieces, task = await begun(server)
        with pytest.raises(Conflict, match="byte 3"):
            await server.append(upload, 0, one(b"XYZ"))
        pieces.send(b"def")
        pieces.send(b"")
        assert (await task).offset == 6

    asyncio.run(run())
