"""The progress of one job, written down as it is made, and read again after a crash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from reflector_gpu.audio.spool import Spool
from reflector_gpu.jobs.batch_answers import Answer, Answers
from reflector_gpu.jobs.job import Job
from reflector_gpu.jobs.owners import Owners
from reflector_gpu.jobs.pieces import Pieces
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.types import Chunk, Recognition, TranscribeOptions


class Journal:
    """What a job has done so far, written down while this server works on it.

    It is a `Tally`, and remembers what was recognised.
    """

    def __init__(
        self,
        pieces: Pieces,
        answers: Answers,
        owners: Owners,
        job: Job,
        told: Callable[[], None],
    ) -> None:
        """``told`` is called when there is news for those who watch the job."""
        self._pieces = pieces
        self._answers = answers
        self._owners = owners
        self._job = job
        self._told = told
        self._again = job.started != job.resumed
        self._parts = 0
        self._kept: list[Part] = []
        self.seconds = 0.0
        """How long the recording is, as far as is known."""
        self.position = job.resumed_at
        """How far the work has come."""
        self._channels = 1
        self._claimed = False
        self._duration = job.duration
        self._telling = asyncio.Lock()

    async def begin(self) -> None:
        """Read what an earlier try wrote, if there was one."""
        while self._again and (more := await self._pieces.parts(self._job.id, len(self._kept))):
            self._kept += more

    def expect(self, seconds: float) -> None:
        self.seconds = seconds
        self._claimed = True

    def decoded(self, seconds: float, plausible: float) -> None:
        self.seconds = max(self.seconds, seconds)

    def channels(self, count: int) -> None:
        self._channels = count

    @contextmanager
    def advance(self, position: float) -> Iterator[float]:
        """Go on to ``position``, and give the seconds of audio on the way, of all channels.

        The block writes them down. They count for the owner's quota unless it fails.
        """
        used = max(0.0, position - self.position) * self._channels
        self.position = position
        with self._owners.using(self._job.owner, used):
            yield used

    async def answered_by(self, model: str) -> None:
        """Say which model does the work."""
        if self._job.model != model:
            await self._pieces.answered_by(self._job, model)

    async def answered(self) -> set[int]:
        """The lines of a batch that an earlier try has answered."""
        return await self._answers.numbers(self._job.id) if self._again else set()

    async def answer(self, answer: Answer) -> None:
        """Keep the answer to a line of a batch."""
        await self._answers.add(self._job, answer, self.seconds)
        self._told()

    async def add(self, part: Part) -> Part:
        """Write down the next part. If it was written before, that one counts."""
        number, self._parts = self._parts, self._parts + 1
        if number < len(self._kept):
            return self._kept[number]
        with self.advance(part.position) as used:
            await self._pieces.add_part(self._job, number, part, self.seconds or None, used)
        self._told()
        return part

    async def recognised(
        self,
        chunk: Chunk,
        options: TranscribeOptions,
        recognise: Callable[[], Awaitable[Recognition]],
    ) -> Recognition:
        """What is in ``chunk``. It is recognised unless that was done before."""
        digest = hashlib.blake2b(chunk.samples.tobytes(), digest_size=16)
        digest.update(repr(options).encode())
        name = digest.hexdigest()
        if self._again:
            known = await self._pieces.recognition(self._job, name)
            if known is not None:
                return known
        async with self._telling:  # or else the second chunk would be recognised before the first
            await self._tell_duration()
        found = await recognise()
        await self._pieces.add_recognition(self._job, name, found)
        return found

    async def _tell_duration(self) -> None:
        """Write down how long the recording claims to be: its share is known before any words."""
        if self._claimed and self._duration is None:
            self._duration = self.seconds
            await self._pieces.lasts(self._job, self.seconds)


class Work(Protocol):
    """What a kind of job does with a recording."""

    async def run(self, job: Job, recording: Spool, journal: Journal) -> bytes:
        """The result, packed. What is in ``journal`` already need not be done again.

        Raises:
            ReflectorError: the job fails, or has to wait if that is `Unavailable`.
        """
