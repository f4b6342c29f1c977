"""Who gets which job, and when: the rules that are dense."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.errors import InvalidRequest, TooLarge
from reflector_gpu.jobs.batch_answers import Answers
from reflector_gpu.jobs.job import Draft, Job, JobError, Status
from reflector_gpu.jobs.journal import Journal
from reflector_gpu.jobs.owned import Lost
from reflector_gpu.jobs.pieces import Pieces
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.pipeline.transcription import Gathered, Part
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.store.database import Database, sqlite_in
from reflector_gpu.store.usage import Usage
from reflector_gpu.types import Chunk, Recognition, Segment, TranscribeOptions, Word


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = sqlite_in(tmp_path)
    yield database
    database.close()


@pytest.fixture
def store(database: Database, clock: Clock) -> JobStore:
    return JobStore(database, lease=10.0, clock=clock)


def draft(priority: int = 0, key: str | None = None, fingerprint: str = "f") -> Draft:
    return Draft(
        "me", "transcription", {}, "a.wav", fingerprint, priority=priority, idempotency_key=key
    )


async def took(store: JobStore, worker: str) -> str | None:
    job = await store.take(worker)
    return job.id if job else None


async def get(store: JobStore, job_id: str) -> Job:
    return await store.get("me", job_id)


def test_jobs_are_taken_by_priority_and_then_by_age(store: JobStore) -> None:
    async def run() -> None:
        for name, priority in (("job_1", 0), ("job_2", 5), ("job_3", 0), ("job_4", 5)):
            await store.add(name, draft(priority))
        assert await store.ahead(await get(store, "job_3")) == 3
        order = [await took(store, f"w{n}") for n in range(5)]
        assert order == ["job_2", "job_4", "job_1", "job_3", None]

    asyncio.run(run())


def test_a_silent_server_loses_its_job_and_can_do_no_harm_to_it(
    store: JobStore, clock: Clock
) -> None:
    async def run() -> None:
        await store.add("job_1", draft())
        before = await store.take("silent")
        assert before
        clock.now += 9
        assert await took(store, "other") is None
        assert await store.renew(["silent", "nobody"]) == {"nobody"}
        clock.now += 9
        assert await took(store, "other") is None
        clock.now += 2
        after = await store.take("other")
        assert after
        assert after.deaths == 1
        for writing in (
            store.complete(before, b"", 1.0, 0.0),
            store.fail(before, JobError("error", "late")),
        ):
            with pytest.raises(Lost):
                await writing
        await store.put_back(before, wait=0, failed=True)
        assert (await get(store, "job_1")).status is Status.RUNNING
        await store.complete(after, b"", 1.0, 0.0)
        assert (await get(store, "job_1")).status is Status.COMPLETED

    asyncio.run(run())


def test_audio_is_counted_with_the_part_that_it_was_used_for(
    store: JobStore, database: Database, clock: Clock
) -> None:
    """A server that is killed has written down both or neither."""

    async def run() -> None:
        await store.add("job_1", draft())
        pieces, usage = Pieces(database), Usage(database)
        silent = await store.take("silent")
        assert silent
        await pieces.add_part(silent, 0, Part((), 5.0), 12.0, used=5.0)
        clock.now += 11
        other = await store.take("other")
        assert other
        assert other.resumed_at == 5.0
        for writing in (
            pieces.add_part(silent, 1, Part((), 9.0), 12.0, used=4.0),
            store.complete(silent, b"", 12.0, used=7.0),
        ):
            with pytest.raises(Lost):
                await writing
        assert [day.audio_seconds for day in await usage.since("", "me")] == [5.0]
        await store.complete(other, b"", 12.0, used=7.0)
        assert sum(day.audio_seconds for day in await usage.since("", "me")) == 12.0

    asyncio.run(run())


SEGMENTS = st.lists(st.tuples(st.sampled_from(["Yes.", "No, no."]), st.booleans()), max_size=3)


@given(st.lists(st.tuples(SEGMENTS, st.booleans()), max_size=4), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_words_of_a_job_are_those_of_its_transcript(
    told: list[tuple[list[tuple[str, bool]], bool]], earlier_version: bool
) -> None:
    gathered = Gathered()

    async def run(database: Database) -> None:
        store, pieces = JobStore(database, lease=10.0), Pieces(database)
        await store.add("job_1", draft())
        job = await store.take("worker")
        assert job
        for number, (said, last) in enumerate(told):
            segments = tuple(
                Segment.of([Word(text, 0.0, 1.0, glued=glued)]) for text, glued in said
            )
            part = Part(segments, number, attributed=segments[::-1] if last else None)
            await pieces.add_part(job, number, part, None, used=0.0)
            gathered.add(part)
        if earlier_version:
            await database.write(lambda c: c.change("UPDATE parts SET text = NULL"))
        assert await pieces.text(job.id) == gathered.transcript.text

    with TemporaryDirectory() as folder:
        database = sqlite_in(Path(folder))
        asyncio.run(run(database))
        database.close()


def test_a_part_that_is_not_written_down_counts_for_no_quota(
    store: JobStore, database: Database, clock: Clock
) -> None:
    async def run() -> None:
        await store.add("job_1", draft())
        silent = await store.take("silent")
        assert silent
        owners = Accounts.of(database)
        journal = Journal(Pieces(database), Answers(database), owners, silent, lambda: None)
        await journal.add(Part((), 5.0))
        clock.now += 11
        await store.take("other")
        with pytest.raises(Lost):
            await journal.add(Part((), 9.0))
        assert owners.usage.audio_today("me") == 5.0

    asyncio.run(run())


def test_chunks_are_recognised_in_order_though_the_first_tells_the_duration(
    store: JobStore, database: Database
) -> None:
    """To write that down takes a while, in which the second chunk is cut."""
    order: list[int] = []

    async def run() -> None:
        await store.add("job_1", draft())
        job = await store.take("one")
        assert job
        pieces, answers, owners = Pieces(database), Answers(database), Accounts.of(database)
        journal = Journal(pieces, answers, owners, job, lambda: None)
        journal.expect(12.0)

        async def recognise(number: int) -> Recognition:
            order.append(number)
            return Recognition()

        await asyncio.gather(
            *(
                journal.recognised(
                    Chunk(np.full(10, number, np.float32), float(number)),
                    TranscribeOptions(),
                    partial(recognise, number),
                )
                for number in range(3)
            )
        )
        assert (await get(store, "job_1")).duration == 12.0

    asyncio.run(run())
    assert order == [0, 1, 2]


def test_a_job_that_was_put_back_waits(store: JobStore, clock: Clock) -> None:
    async def run() -> None:
        await store.add("job_1", draft())
        job = await store.take("one")
        assert job
        await store.put_back(job, wait=60, failed=True)
        assert await took(store, "two") is None
        clock.now += 60
        again = await store.take("two")
        assert again
        assert (again.failures, again.deaths) == (1, 0)

    asyncio.run(run())


def test_a_job_that_ended_stays_as_it_is(store: JobStore) -> None:
    async def run() -> None:
        await store.add("job_1", draft())
        job = await store.take("one")
        assert job
        assert await store.cancel(job)
        with pytest.raises(Lost):
            await store.complete(job, b"", 1.0, 0.0)
        assert (await get(store, "job_1")).status is Status.CANCELLED
        assert not await store.cancel(job)
        assert (await get(store, "job_1")).finished == 1000.0

    asyncio.run(run())


def test_a_key_is_one_job_of_one_owner(store: JobStore) -> None:
    async def run() -> None:
        first = await store.add("job_1", draft(key="k"))
        assert (await store.add("job_2", draft(key="k"))).id == first.id
        with pytest.raises(InvalidRequest, match="idempotency key"):
            await store.add("job_3", draft(key="k", fingerprint="other"))

    asyncio.run(run())


def test_the_fields_of_a_job_are_bounded(store: JobStore) -> None:
    long = Draft("me", "diarization", {"known_speaker_references": "x" * 6_000_000}, "a", "f")

    async def run() -> None:
        with pytest.raises(TooLarge, match="shorter samples"):
            await store.add("job_1", long)
        assert await store.listed("me") == []

    asyncio.run(run())


def test_the_time_left_follows_the_pace_since_the_job_was_taken(
    store: JobStore, clock: Clock
) -> None:
    job = Job(
        "job_1", "me", "transcription", Status.RUNNING, 0, 0.0, 0.0, None, "a", None, {}, {}, None,
        "f", None, 100.0, 60.0, 1000.0, 40.0, 0.0, 0, 0, "w", 0.0, None, None,
    )  # fmt: skip
    assert job.share == 0.6
    assert job.seconds_left(1010.0) == 20.0  # 20 seconds of audio took 10
    assert job.seconds_left(1000.0) == 0.0
