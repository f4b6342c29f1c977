"""What a job has so far: chunks that are recognised, parts of the transcript, the result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from reflector_gpu.jobs.job import Job
from reflector_gpu.jobs.owned import own
from reflector_gpu.jobs.records import PART, RECOGNITION
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.store import usage
from reflector_gpu.store.database import Connection, Database, Row, Value
from reflector_gpu.types import Recognition


class Pieces:
    """The pieces of all jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def answered_by(self, job: Job, model: str) -> None:
        await self._database.note(
            lambda c: own(c, job, "UPDATE jobs SET model = ? WHERE {mine}", model)
        )

    async def lasts(self, job: Job, seconds: float) -> None:
        """Say how long the recording is.

        Raises:
            Lost
        """
        await self._database.note(
            lambda c: own(c, job, "UPDATE jobs SET duration = ? WHERE {mine}", seconds)
        )

    async def add_part(
        self, job: Job, number: int, part: Part, duration: float | None, used: float
    ) -> None:
        """Keep the next part of a transcript, how far the job has come, and the audio it has used.

        Raises:
            Lost
        """
        body = PART.pack(part)
        text = _text(part)

        def work(connection: Connection) -> None:
            own(
                connection,
                job,
                "UPDATE jobs SET position = ?, duration = ?, deaths = 0, failures = 0 WHERE {mine}",
                part.position,
                duration,
            )
            if part.attributed is not None:  # it has the words of all parts
                connection.change("UPDATE parts SET text = ? WHERE job = ?", b"", job.id)
            connection.change(
                "INSERT INTO parts (job, number, body, text) VALUES (?, ?, ?, ?)",
                job.id,
                number,
                body,
                text,
            )
            if used:
                usage.count(connection, job.owner, usage.day_of(time.time()), audio_seconds=used)

        await self._database.note(work)

    async def parts(self, job_id: str, first: int = 0, most: int = 1000) -> list[Part]:
        """The parts that are there, from the ``first`` on."""
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT body FROM parts WHERE job = ? AND number >= ? ORDER BY number LIMIT ?",
                job_id,
                first,
                most,
            )
        )
        # In a thread: an hour of words would hold up other requests.
        return await asyncio.to_thread(lambda: [PART.unpack(_bytes(row["body"])) for row in found])

    async def text(self, job_id: str) -> str:
        """The words of all parts, as `Transcript.text` spells them."""
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT text, CASE WHEN text IS NULL THEN body END AS body FROM parts"
                " WHERE job = ? ORDER BY number",
                job_id,
            )
        )
        if any(row["body"] is not None for row in found):
            return await asyncio.to_thread(_joined, found)
        return _joined(found)

    async def recognition(self, job: Job, digest: str) -> Recognition | None:
        """What was recognised in a chunk, if that was done before."""
        found = await self._database.read(
            lambda c: c.rows(
                "SELECT body FROM recognitions WHERE job = ? AND digest = ?", job.id, digest
            )
        )
        return RECOGNITION.unpack(_bytes(found[0]["body"])) if found else None

    async def add_recognition(self, job: Job, digest: str, found: Recognition) -> None:
        """Keep what was recognised in a chunk until the job ends.

        Raises:
            Lost
        """
        body = RECOGNITION.pack(found)

        def work(connection: Connection) -> None:
            own(connection, job, "UPDATE jobs SET deaths = 0 WHERE {mine}")
            connection.change(
                "INSERT INTO recognitions (job, digest, body) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                job.id,
                digest,
                body,
            )

        await self._database.note(work)

    async def result(self, job_id: str) -> bytes | None:
        found = await self._database.read(
            lambda c: c.rows("SELECT body FROM results WHERE job = ?", job_id)
        )
        return _bytes(found[0]["body"]) if found else None


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes), "a body is bytes"
    return value


def _text(part: Part) -> bytes:
    """The words that ``part`` adds; all of them if it is the one with the speakers. A space comes
    before each segment that needs one."""
    segments = part.segments if part.attributed is None else part.attributed
    return "".join(s.text if s.glued else f" {s.text}" for s in segments).encode()


def _joined(rows: Sequence[Row]) -> str:
    texts: list[bytes] = []
    for row in rows:
        if row["text"] is None:
            part = PART.unpack(_bytes(row["body"]))
            if part.attributed is not None:
                texts.clear()
            texts.append(_text(part))
        else:
            texts.append(_bytes(row["text"]))
    return b"".join(texts).decode().removeprefix(" ")
