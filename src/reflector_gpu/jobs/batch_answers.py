"""The answers to the lines of batches, one row for each."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from reflector_gpu.jobs.job import Job
from reflector_gpu.jobs.owned import own
from reflector_gpu.store.database import Connection, Database, Row

_PAGE = 20  # answers that are in memory at a time


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the line ``number``: a line of the output file, or of the file of errors."""

    number: int
    failed: bool
    text: str


class Answers:
    """The answers of all batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: Job, answer: Answer, total: float) -> None:
        """Keep an answer, and count it; a batch has ``total`` lines.

        Raises:
            Lost
        """
        text = f"{answer.text}\n".encode()
        body = zlib.compress(text, 1)

        def work(connection: Connection) -> None:
            new = connection.change(
                "INSERT INTO answers (job, number, failed, size, body) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                job.id,
                answer.number,
                int(answer.failed),
                len(text),
                body,
            )
            own(
                connection,
                job,
                "UPDATE jobs SET position = position + ?, lines_failed = lines_failed + ?,"
                " duration = ?, deaths = 0, failures = 0 WHERE {mine}",
                new,
                new * int(answer.failed),
                total,
            )

        await self._database.note(work)

    async def numbers(self, job_id: str) -> set[int]:
        """The lines that have been answered."""
        found = await self._database.read(
            lambda c: c.rows("SELECT number FROM answers WHERE job = ?", job_id)
        )
        return {int(row["number"] or 0) for row in found}

    async def size(self, job_id: str, *, failed: bool) -> int:
        """Bytes of the file with all answers that ``failed``, or of that with all others."""
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT coalesce(sum(size), 0) AS n FROM answers WHERE job = ? AND failed = ?",
                job_id,
                int(failed),
            )
        )
        return int(found[0]["n"] or 0)

    async def file(self, job_id: str, *, failed: bool) -> AsyncGenerator[bytes, None]:
        """That file, line by line, in the order of the input."""
        last = -1
        while found := await self._page(job_id, failed, last):
            for row in found:
                body = row["body"]
                assert isinstance(body, bytes), "a body is bytes"
                yield zlib.decompress(body)
                last = int(row["number"] or 0)

    async def _page(self, job_id: str, failed: bool, after: int) -> list[Row]:
        return await self._database.read(
            lambda c: c.rows(
                "SELECT number, body FROM answers WHERE job = ? AND failed = ? AND number > ?"
                " ORDER BY number LIMIT ?",
                job_id,
                int(failed),
                after,
                _PAGE,
            )
        )
