"""Transactions that fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reflector_gpu.errors import StorageFull
from reflector_gpu.store.database import Connection, sqlite_in


def test_a_full_disk_is_told_as_such_and_the_next_transaction_works(tmp_path: Path) -> None:
    database = sqlite_in(tmp_path)

    def fill(connection: Connection) -> None:
        (row,) = connection.rows("PRAGMA page_count")
        connection.rows(f"PRAGMA max_page_count = {int(row['page_count'] or 0) + 2}")
        insert(connection, "large", bytes(1_000_000))

    def insert(connection: Connection, job: str, body: bytes) -> None:
        connection.change("INSERT INTO results (job, body) VALUES (?, ?)", job, body)

    async def run() -> None:
        with pytest.raises(StorageFull):
            await database.write(fill)
        await database.write(lambda c: insert(c, "small", b"1"))
        found = await database.read(lambda c: c.rows("SELECT job FROM results"))
        assert [row["job"] for row in found] == ["small"]

    asyncio.run(run())
    database.close()
