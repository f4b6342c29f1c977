"""What keys have used, as several servers count it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from reflector_gpu.errors import Unavailable
from reflector_gpu.store import usage
from reflector_gpu.store.database import sqlite_in
from reflector_gpu.store.usage import Usage
from tests.api.support import eventually
from tests.waiting import PATIENCE_SECONDS


def test_servers_learn_what_others_have_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_WRITE_SECONDS", 0.005)
    databases = [sqlite_in(tmp_path) for _ in range(2)]

    async def run() -> None:
        one, other = servers = [Usage(database) for database in databases]
        for server in servers:
            await server.start()
        one.audio("key", 5.0)
        other.audio("key", 2.0)

        def known() -> bool:
            return [server.audio_today("key") for server in servers] == [7.0, 7.0]

        await asyncio.to_thread(eventually, known)
        for server in servers:
            await server.aclose()
        assert [day.audio_seconds for day in await one.since("", "key")] == [7.0]

    asyncio.run(run())
    for database in databases:
        database.close()


def test_what_cannot_be_written_down_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = sqlite_in(tmp_path)
    counted = Usage(database)

    async def silent(_: object) -> None:
        raise Unavailable("The database does not answer.")

    async def run() -> None:
        counted.audio("key", 5.0)
        counted.request("key")
        with monkeypatch.context() as broken:
            broken.setattr(database, "write", silent)
            with pytest.raises(Unavailable):
                await counted.flush()
        counted.audio("key", 1.0)
        [day] = await counted.since("", "key")
        assert (day.requests, day.audio_seconds) == (1, 6.0)

    asyncio.run(run())
    database.close()


def test_what_is_being_written_down_is_not_missed_by_who_reads_meanwhile(tmp_path: Path) -> None:
    database = sqlite_in(tmp_path)
    counted, disk = Usage(database), threading.Event()

    async def run() -> None:
        await database.read(lambda _: None)  # it is open now
        slow = asyncio.create_task(database.write(lambda _: disk.wait(PATIENCE_SECONDS)))
        await asyncio.sleep(0)
        counted.request("key")
        writing = asyncio.create_task(counted.flush())
        await asyncio.sleep(0)
        reading = asyncio.create_task(counted.since("", "key"))
        await asyncio.sleep(0)
        await database.read(lambda _: None)  # readers take turns: one before this one is done
        disk.set()
        assert [day.requests for day in await reading] == [1]
        await asyncio.gather(slow, writing)

    asyncio.run(run())
    database.close()
