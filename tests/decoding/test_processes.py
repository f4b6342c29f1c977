"""Decoders in processes of their own: what they find, and what becomes of those that die."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import psutil
import pytest

from fuzz.media import alac, flac, iso
from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import Decoders, Job
from reflector_gpu.decoding.jobs import Chunking, Listening, Padding, Sampling
from reflector_gpu.decoding.messages import Ended, Told
from reflector_gpu.decoding.processes import ProcessDecoders
from reflector_gpu.decoding.threads import ThreadDecoders
from reflector_gpu.errors import (
    EngineFailed,
    InvalidRequest,
    ShuttingDown,
    TooLarge,
    UndecodableAudio,
    UpstreamFailed,
)
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them")

MEMORY = 256_000_000
CHUNKING = Chunking(10.0, 1.0)


_others: set[int] = set()
"""Templates of servers that run in this process too, for other tests."""


def run(scene: Callable[[ProcessDecoders], Awaitable[None]]) -> None:
    """Run ``scene``, which must leave no process behind."""

    async def limited() -> None:
        decoders = ProcessDecoders(MEMORY)
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                await scene(decoders)
            finally:
                await decoders.close()

    _others.clear()
    while found := template():
        _others.add(found.pid)
    asyncio.run(limited())
    assert template() is None


@pytest.fixture(scope="module")
def meeting(standup: Path) -> bytes:
    return standup.read_bytes()


def template() -> psutil.Process | None:
    """The process that forks decoders."""
    for child in psutil.Process().children():
        ours = any("decoder_process" in argument for argument in child.cmdline())
        if ours and child.pid not in _others:
            return child
    return None


def decoders_alive() -> list[psutil.Process]:
    """The oldest first. The last one waits for a recording."""
    found = template()
    return sorted(found.children(), key=lambda one: one.create_time()) if found else []


def spooled(data: bytes) -> Spool:
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return spool


async def told(
    decoders: Decoders, job: Job, spool: Spool, output: Spool | None = None
) -> list[Told]:
    async with aclosing(decoders.run(job, spool, output)) as messages:
        return [(message, bytes(data)) async for message, data in messages]


async def whole(decoders: Decoders, data: bytes, job: Job = CHUNKING) -> list[Told]:
    with spooled(data) as spool:
        return await told(decoders, job, spool)


@asynccontextmanager
async def begun(
    decoders: Decoders, data: bytes
) -> AsyncIterator[tuple[asyncio.Task[list[Told]], Spool]]:
    """A job that waits for the rest of ``data``, of which half has arrived."""
    with Spool(limit=10**9) as spool:
        spool.write(data[: len(data) // 2])
        job = Chunking(3.0, 1.0)
        messages = decoders.run(job, spool)
        async with aclosing(messages):
            await anext(messages)

            async def rest() -> list[Told]:
                return [one async for one in messages]

            following = asyncio.ensure_future(rest())
            try:
                yield following, spool
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


@pytest.mark.parametrize("job", [CHUNKING, Sampling(100.0)])
def test_they_find_what_is_found_in_this_process(meeting: bytes, job: Job) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        assert await whole(decoders, meeting, job) == await whole(ThreadDecoders(), meeting, job)

    run(scene)


def test_a_recording_is_kept_for_a_diarizer(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        kept: list[tuple[list[Told], bytes]] = []
        for who in (decoders, ThreadDecoders()):
            for job in (CHUNKING, Listening()):
                with closing(Recorder()) as recorder, spooled(meeting) as spool:
                    found = await told(who, job, spool, recorder.pcm)
                    samples = os.pread(recorder.descriptor, 10**8, 0)
                    assert recorder.pcm.size == len(samples)
                    kept.append((found, samples))
        assert kept[:2] == kept[2:]

    run(scene)


def test_a_padded_file_is_the_same(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        made = []
        for who in (decoders, ThreadDecoders()):
            with Spool(10**9) as output, spooled(meeting) as spool:
                found = await told(who, Padding(2.0), spool, output)
                made.append((found[-1][0], output.size))
        assert made[0] == made[1]

    run(scene)


def test_what_is_decoded_comes_while_the_rest_arrives(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, spool):
            await asyncio.sleep(0)
            assert not rest.done()
            spool.write(meeting[len(meeting) // 2 :])
            spool.finish()
            found = await rest
        assert isinstance(found[-1][0], Ended)

    run(scene)


@pytest.mark.parametrize(
    "error",
    [UpstreamFailed("Gone."), TooLarge("Too much."), InvalidRequest("No.")],
    ids=lambda error: type(error).__name__,
)
def test_the_error_that_ends_the_bytes_is_told(meeting: bytes, error: InvalidRequest) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, spool):
            spool.fail(error)
            with pytest.raises(type(error), match=error.message):
                await rest

    run(scene)


def test_an_error_of_the_job_comes_as_it_is(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with pytest.raises(TooLarge, match="longer than this server's limit of 5 seconds"):
            await whole(decoders, meeting, Chunking(10.0, 1.0, max_seconds=5.0))
        with pytest.raises(UndecodableAudio, match="is empty") as caught:
            await whole(decoders, b"")
        assert caught.value.param == "file"

    run(scene)


def test_no_process_sees_two_recordings(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        seen: list[int] = []
        for _ in range(3):
            async with begun(decoders, meeting):
                seen.append(decoders_alive()[0].pid)
            await asyncio.to_thread(until, lambda: not psutil.pid_exists(seen[-1]))
        assert len(set(seen)) == 3

    run(scene)


def test_a_decoder_that_nobody_waited_for_is_ended(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with spooled(meeting) as spool:
            leaving = asyncio.ensure_future(told(decoders, CHUNKING, spool))
            await asyncio.sleep(0)  # it has asked for a process
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        assert isinstance((await whole(decoders, meeting))[-1][0], Ended)
        await asyncio.to_thread(until, lambda: len(decoders_alive()) == 1)

    run(scene)


def test_recordings_are_decoded_side_by_side(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, _):
            assert isinstance((await whole(decoders, meeting))[-1][0], Ended)
            assert not rest.done()
            rest.cancel()
            await asyncio.gather(rest, return_exceptions=True)

    run(scene)


def test_leaving_ends_the_process(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, _):
            process = decoders_alive()[0]
            rest.cancel()
            await asyncio.gather(rest, return_exceptions=True)
        await asyncio.to_thread(until, lambda: not process.is_running())

    run(scene)


def test_a_crash_is_the_fault_of_its_recording_alone(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (first, _):
            process = decoders_alive()[0]
            async with begun(decoders, meeting) as (second, spool):
                process.send_signal(signal.SIGSEGV)
                with pytest.raises(UndecodableAudio, match="its decoder crashed"):
                    await first
                spool.write(meeting[len(meeting) // 2 :])
                spool.finish()
                assert await second

    run(scene)


def test_a_kill_before_anything_was_told_goes_unnoticed(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with Spool(limit=10**9) as spool:
            spool.write(meeting[:2])
            work = asyncio.ensure_future(told(decoders, CHUNKING, spool))
            await asyncio.to_thread(until, decoders_alive)
            decoders_alive()[0].kill()
            spool.write(meeting[2:])
            spool.finish()
            assert await work == await whole(ThreadDecoders(), meeting)

    run(scene)


def test_a_kill_later_is_not_the_recordings_fault(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, _):
            decoders_alive()[0].kill()
            with pytest.raises(EngineFailed, match="was killed; send it again"):
                await rest

    run(scene)


def test_without_its_template_the_next_recording_has_another(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        await whole(decoders, meeting)
        found = template()
        assert found
        found.kill()
        await asyncio.to_thread(found.wait)
        for _ in range(2):  # the first may meet the decoder that died with it
            try:
                assert (await whole(decoders, meeting))[-1]
                break
            except EngineFailed:
                continue
        else:
            pytest.fail("it does not recover")

    run(scene)


def test_there_are_none_once_they_are_closed(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        await whole(decoders, meeting)
        await decoders.close()
        assert template() is None
        with pytest.raises(ShuttingDown):
            await whole(decoders, meeting)

    run(scene)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: iso.many_samples(85_000_000), "no decodable audio"),
        (lambda: alac.huge_packet(16_700_000), "16700000 samples|memory|no decodable"),
        (lambda: iso.many_pictures(999), "more than 128 tracks"),
    ],
    ids=["sample table", "packet", "tracks"],
)
def test_a_bomb_is_refused_and_takes_little_memory(make: Callable[[], bytes], reason: str) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with pytest.raises(UndecodableAudio, match=reason):
            await whole(decoders, make())

    before = peak_of_children()
    run(scene)
    assert peak_of_children() <= max(before, 400_000)


def peak_of_children() -> int:
    """The most memory that an ended process of ours, or one of its own, has taken: kilobytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def test_a_cover_is_not_looked_at() -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        found = await whole(decoders, flac.with_cover(16_000, 16_000))
        assert isinstance(found[-1][0], Ended)

    run(scene)


def test_they_do_not_know_the_servers_secrets(
    meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_APIKEY", "secret")

    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting):
            process = decoders_alive()[0]
            assert "REFLECTOR_APIKEY" not in process.environ()
            assert process.environ()

    run(scene)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("open('/etc/hostname')", "PermissionError"),
        ("open('/tmp/x', 'w')", "PermissionError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import os; os.execv('/bin/true', ['true'])", "PermissionError"),
        ("import os; os.kill(os.getppid(), 0)", "PermissionError"),
        ("bytearray(300_000_000)", "MemoryError"),
        ("bytearray(50_000_000); print('fine')", "fine"),
        ("import threading; t = threading.Thread(target=print, args=('fine',)); t.start()", "fine"),
    ],
)
def test_a_confined_process_can_compute_and_nothing_else(act: str, said: str) -> None:
    code = (
        "import socket, os, threading, traceback\n"
        "from reflector_gpu.decoding.sandbox import confine, size\n"
        "confine(size() + 256_000_000)\n"
        f"{act}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr


def test_time_is_limited_by_the_length_of_the_recording() -> None:
    code = (
        "from reflector_gpu.decoding.sandbox import Allowance, _cpu_seconds\n"
        "import resource\n"
        "allowance = Allowance()\n"
        "first = resource.getrlimit(resource.RLIMIT_CPU)[0]\n"
        "allowance.passed(100.0)\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0] - first)\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))\n"
        "while True: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-uc", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["50"]
    assert done.returncode == -signal.SIGXCPU
