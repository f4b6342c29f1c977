"""Webhooks that wait to be delivered, in the database."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import httpx

from reflector_gpu.jobs.job import new_id
from reflector_gpu.store.database import Connection, Database

_PREFIX = "whsec_"
_LEASE = 60.0  # seconds that a server has for one attempt


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to a client's server. It has been tried ``attempts`` times."""

    id: str
    job: str
    owner: str
    url: str
    host: str
    created: float
    attempts: int


def add_delivery(connection: Connection, job: str, url: str | None, now: float) -> None:
    """Have the end of a job reported to its client, if the client wants that.

    Part of the transaction that ends the job.
    """
    if url is None:
        return
    host = httpx.URL(url).host
    connection.change(
        "INSERT INTO deliveries (id, job, host, created, due, attempts) VALUES (?, ?, ?, ?, ?, 0)",
        new_id("msg"),
        job,
        host,
        now,
        now,
    )


class Deliveries:
    """The deliveries of all servers that share a database, for one of these servers."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._server = secrets.token_hex(8)

    async def take(self, busy: Collection[str]) -> Delivery | None:
        """The next delivery that is due, but none to the hosts that are ``busy``."""
        now = self._clock()
        # PostgreSQL takes no empty list.
        elsewhere = f" AND host NOT IN ({', '.join('?' * len(busy))})" if busy else ""

        def work(connection: Connection) -> Delivery | None:
            taken = connection.rows(
                "UPDATE deliveries SET due = ?, server = ?, attempts = attempts + 1 WHERE id ="
                f" (SELECT id FROM deliveries WHERE due <= ?{elsewhere} ORDER BY due LIMIT 1"
                f"{connection.unlocked}) RETURNING *",
                now + _LEASE,
                self._server,
                now,
                *busy,
            )
            if not taken:
                return None
            row = taken[0]
            jobs = connection.rows("SELECT owner, webhook_url FROM jobs WHERE id = ?", row["job"])
            if not jobs:  # it was erased, and there is nothing to tell
                connection.change("DELETE FROM deliveries WHERE id = ?", row["id"])
                return None
            return Delivery(
                str(row["id"]),
                str(row["job"]),
                str(jobs[0]["owner"]),
                str(jobs[0]["webhook_url"]),
                str(row["host"]),
                float(row["created"] or 0),
                int(row["attempts"] or 0),
            )

        return await self._database.note(work)

    async def done(self, delivery: Delivery) -> None:
        """It has arrived, or was given up."""
        await self._database.write(
            lambda c: c.change("DELETE FROM deliveries WHERE id = ?", delivery.id)
        )

    async def again(self, delivery: Delivery, pause: float) -> None:
        """Try it again in ``pause`` seconds."""
        due = self._clock() + pause
        await self._database.write(
            lambda c: c.change(
                "UPDATE deliveries SET due = ?, server = NULL WHERE id = ?", due, delivery.id
            )
        )

    async def release(self) -> None:
        """Let what this server has taken and not delivered be taken again at once, as if it had not
        been tried."""
        now = self._clock()
        await self._database.note(
            lambda c: c.change(
                "UPDATE deliveries SET due = ?, server = NULL, attempts = attempts - 1"
                " WHERE server = ?",
                now,
                self._server,
            )
        )

    async def secret(self, owner: str) -> str:
        """The secret that signs the messages to ``owner``; made when it is first asked for."""
        made = _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()

        def work(connection: Connection) -> str:
            connection.change(
                "INSERT INTO webhook_secrets (owner, secret) VALUES (?, ?) ON CONFLICT DO NOTHING",
                owner,
                made,
            )
            found = connection.rows("SELECT secret FROM webhook_secrets WHERE owner = ?", owner)
            return str(found[0]["secret"])

        return await self._database.write(work)
