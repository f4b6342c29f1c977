"""Files that clients leave for batches: how many, and how long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflector_gpu.errors import NotFound, Overloaded, StorageFull
from reflector_gpu.jobs import blob_rows, files, job
from reflector_gpu.jobs.blobs import Blobs, FolderBlobs
from reflector_gpu.jobs.files import Files
from reflector_gpu.jobs.job import new_id
from reflector_gpu.jobs.stored_blobs import StoredBlobs
from reflector_gpu.jobs.unbroken import Unbroken
from reflector_gpu.store.database import Database, sqlite_in
from tests.disks import small_disk


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = sqlite_in(tmp_path)
    yield database
    database.close()


def test_all_that_has_expired_is_removed(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_rows, "_SWEPT", 2)
    clock = Clock()
    folder, source = tmp_path / "files", tmp_path / "source"
    folder.mkdir()
    source.write_bytes(b"{}")
    kept = Files(database, FolderBlobs(folder), 60.0, Unbroken(), clock=clock)

    async def run() -> None:
        made = [await kept.add("me", "a", "batch", source) for _ in range(5)]
        clock.now += 61
        young = await kept.add("me", "b", "batch", source)
        await kept.sweep()
        assert [path.name for path in folder.iterdir()] == [young.id]
        assert await kept.listed("me") == [young]
        with pytest.raises(NotFound):
            await kept.get("me", made[0].id)

    asyncio.run(run())


def test_an_owner_has_so_many_files(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MOST", 2)
    folder, source = tmp_path / "files", tmp_path / "source"
    folder.mkdir()
    source.write_bytes(b"{}")
    kept = Files(database, FolderBlobs(folder), 60.0, Unbroken())

    async def run() -> None:
        for _ in range(2):
            await kept.add("me", "a", "batch", source)
        with pytest.raises(Overloaded, match="2 files"):
            await kept.add("me", "a", "batch", source)
        assert len(list(folder.iterdir())) == 2
        await kept.add("another", "a", "batch", source)

    asyncio.run(run())


def test_files_that_are_in_the_database(tmp_path: Path, database: Database) -> None:
    """One is longer than a row may be, and one has nothing in it."""
    contents = [bytes(range(256)) * 10_000, b""]
    source = tmp_path / "source"
    blobs = StoredBlobs(database, tmp_path)
    kept = Files(database, blobs, 60.0, Unbroken())

    async def run() -> None:
        for content in contents:
            source.write_bytes(content)
            file = await kept.add("me", "a", "batch", source)
            assert file.size == len(content)
            assert b"".join([piece async for piece in await kept.content(file)]) == content
            async with kept.local(file) as path:
                assert path.read_bytes() == content
            assert not path.exists()
            await kept.remove("me", file.id)
        assert await database.read(lambda c: c.rows("SELECT * FROM blobs")) == []

    asyncio.run(run())


def test_a_file_that_is_deleted_while_it_is_read_is_not_a_shorter_one(
    tmp_path: Path, database: Database
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(2_500_000))
    kept = Files(database, StoredBlobs(database, tmp_path), 60.0, Unbroken())

    async def run() -> None:
        file = await kept.add("me", "a", "batch", source)
        pieces = await kept.content(file)
        assert len(await anext(pieces)) == 1_000_000
        await kept.remove("me", file.id)
        with pytest.raises(NotFound):
            await anext(pieces)
        with pytest.raises(NotFound):
            await kept.content(file)
        with pytest.raises(NotFound):
            async with kept.local(file):
                pass

    asyncio.run(run())


def test_a_file_that_has_no_room_to_be_copied_is_refused(
    tmp_path: Path, database: Database
) -> None:
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    source.write_bytes(bytes(1_500_001))
    scratch.mkdir()

    async def run() -> None:
        with small_disk(scratch, 1_024):
            kept = Files(database, StoredBlobs(database, scratch), 60.0, Unbroken())
            file = await kept.add("me", "a", "batch", source)
            with pytest.raises(StorageFull):
                async with kept.local(file):
                    pass
            assert not list(scratch.iterdir())

    asyncio.run(run())


@pytest.mark.parametrize("place", ["folder", "database"])
def test_a_file_that_a_killed_server_has_left_is_removed(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"{}")
    blobs: Blobs = FolderBlobs(tmp_path) if place == "folder" else StoredBlobs(database, tmp_path)
    kept = Files(database, blobs, 60.0, Unbroken())

    async def run() -> None:
        file = await kept.add("me", "a", "batch", source)
        await blobs.add(left := new_id("file"), source)
        await kept.sweep()
        assert set(await blobs.between("file_", "g")) == {file.id, left}
        monkeypatch.setattr(job, "_STRAY_SECONDS", -60.0)
        await kept.sweep()
        assert await blobs.between("file_", "g") == [file.id]

    asyncio.run(run())
