"""How much each key has used, day by day."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from reflector_gpu.errors import Unavailable
from reflector_gpu.store.database import Connection, Database
from reflector_gpu.store.repeated import repeat

_WRITE_SECONDS = 2.0
_DAY = 24 * 3600.0


@dataclass(slots=True)
class Used:
    """What one owner used on one day of UTC."""

    requests: int = 0
    audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DayOfUse:
    owner: str
    day: str
    requests: int
    audio_seconds: float


def count(
    connection: Connection, owner: str, day: str, *, requests: int = 0, audio_seconds: float = 0.0
) -> None:
    """Write down what ``owner`` used, beside what else the transaction changes."""
    connection.change(
        "INSERT INTO used (owner, day, requests, audio_seconds) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (owner, day) DO UPDATE SET"
        " requests = used.requests + excluded.requests,"
        " audio_seconds = used.audio_seconds + excluded.audio_seconds",
        owner,
        day,
        requests,
        audio_seconds,
    )


def day_of(time: float) -> str:
    """The day of UTC, of a time in seconds since 1970."""
    return datetime.fromtimestamp(time, UTC).date().isoformat()


class Usage:
    """Counts, and writes the sums down every few seconds. For one event loop."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._new: defaultdict[tuple[str, str], Used] = defaultdict(Used)
        self._today: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._writing: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()

    async def start(self) -> None:
        """Read what was used today, and begin to write."""
        await self._look()
        self._writing = asyncio.create_task(
            repeat(self._look, _WRITE_SECONDS, "what keys have used could not be written down")
        )

    async def aclose(self) -> None:
        if self._writing:
            self._writing.cancel()
        with suppress(Unavailable):
            await self.flush()

    def request(self, owner: str) -> None:
        """Count a request."""
        self._new[owner, self._day].requests += 1

    def audio(self, owner: str, seconds: float) -> None:
        """Count audio that was worked on."""
        day = self._day
        self._new[owner, day].audio_seconds += seconds
        self._today[owner, day] += seconds

    @contextmanager
    def audio_elsewhere(self, owner: str, seconds: float) -> Iterator[None]:
        """Have audio count for quotas that somebody else writes down in the block.

        It counts from the beginning of the block, so that no sum has it twice, and no longer if
        the block fails.
        """
        today = owner, self._day
        self._today[today] += seconds
        try:
            yield
        except BaseException:
            self._today[today] -= seconds
            raise

    def audio_today(self, owner: str) -> float:
        """Seconds of audio of this day. What other servers have done is known a little later."""
        return self._today.get((owner, self._day), 0.0)

    @property
    def seconds_to_tomorrow(self) -> float:
        return _DAY - self._clock() % _DAY

    async def since(self, day: str, owner: str | None = None) -> list[DayOfUse]:
        """The days of ``owner``, or of everybody, from ``day`` on."""
        await self.flush()

        def work(connection: Connection) -> list[DayOfUse]:
            rows = connection.rows(
                "SELECT * FROM used WHERE day >= ? AND owner = coalesce(?, owner)"
                " ORDER BY day, owner",
                day,
                owner,
            )
            return [
                DayOfUse(
                    str(row["owner"]),
                    str(row["day"]),
                    int(row["requests"] or 0),
                    float(row["audio_seconds"] or 0),
                )
                for row in rows
            ]

        return await self._database.read(work)

    async def flush(self) -> None:
        """Write down what is new."""
        async with self._flushing:  # or else somebody who reads would miss what is being written
            new, self._new = self._new, defaultdict(Used)
            if new:
                await self._add(new)

    async def _add(self, new: Mapping[tuple[str, str], Used]) -> None:
        def work(connection: Connection) -> None:
            for (owner, day), used in new.items():
                count(
                    connection,
                    owner,
                    day,
                    requests=used.requests,
                    audio_seconds=used.audio_seconds,
                )

        try:
            await self._database.write(work)
        except Unavailable:
            for key, used in new.items():
                self._new[key].requests += used.requests
                self._new[key].audio_seconds += used.audio_seconds
            raise

    async def _look(self) -> None:
        """See what all servers have written down of this day."""
        for one in await self.since(self._day):
            key = one.owner, one.day
            known = one.audio_seconds + (self._new[key].audio_seconds if key in self._new else 0.0)
            self._today[key] = max(self._today[key], known)

    @property
    def _day(self) -> str:
        return day_of(self._clock())
