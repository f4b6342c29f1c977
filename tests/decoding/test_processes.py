"""Decoders in processes of their own: what they find, and what becomes of those that die."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import aclosing, asynccontextmanager, closing, suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.media import alac, flac, iso
from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import IN_MEMORY, Spool
from reflector_gpu.decoding.base import Decoders, DecodeTask
from reflector_gpu.decoding.messages import Claimed, Cut, Ended, Passed, Told
from reflector_gpu.decoding.processes import ProcessDecoders, _News
from reflector_gpu.decoding.sandbox import _filter
from reflector_gpu.decoding.tasks import Chunking, Listening, Padding, Sampling, is_plain
from reflector_gpu.decoding.threads import ThreadDecoders
from reflector_gpu.errors import (
    EngineFailed,
    InvalidRequest,
    ShuttingDown,
    TooLarge,
    UndecodableAudio,
    UpstreamFailed,
)
from reflector_gpu.types import SAMPLE_RATE, Schedule
from tests.conftest import SAMPLES
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them")

MEMORY = 256_000_000
CHUNKING = Chunking(10.0, 1.0)
EARLY = Chunking(3.0, 1.0)
AHEAD = 2
"""Processes that are forked before they are needed."""


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
        with suppress(psutil.NoSuchProcess):  # one that another test has left is just ending
            ours = any("decoder_process" in argument for argument in child.cmdline())
            if ours and child.pid not in _others:
                return child
    return None


def decoders_alive() -> list[psutil.Process]:
    """The oldest first. The last `AHEAD` wait for a recording.

    A template that has just started has a child for a moment that is none: it tries the sandbox.
    """
    found = template()
    return sorted(found.children(), key=lambda one: one.create_time()) if found else []


def spooled(data: bytes) -> Spool:
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return spool


async def told(
    decoders: Decoders, task: DecodeTask, spool: Spool, output: Spool | None = None
) -> list[Told]:
    async with aclosing(decoders.run(task, spool, output)) as messages:
        return [(message, bytes(data)) async for message, data in messages]


async def whole(decoders: Decoders, data: bytes, task: DecodeTask = CHUNKING) -> list[Told]:
    with spooled(data) as spool:
        return await told(decoders, task, spool)


@asynccontextmanager
async def begun(
    decoders: Decoders, data: bytes
) -> AsyncIterator[tuple[asyncio.Task[list[Told]], Spool]]:
    """A task that waits for the rest of ``data``, of which half has arrived."""
    with Spool(limit=10**9) as spool:
        spool.write(data[: len(data) // 2])
        messages = decoders.run(EARLY, spool)
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


@pytest.mark.parametrize("task", [CHUNKING, Sampling(100.0)])
def test_they_find_what_is_found_in_this_process(meeting: bytes, task: DecodeTask) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        assert await whole(decoders, meeting, task) == await whole(ThreadDecoders(), meeting, task)

    run(scene)


def test_a_recording_is_kept_for_a_diarizer(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        kept: list[tuple[list[Told], bytes]] = []
        for who in (decoders, ThreadDecoders()):
            for task in (CHUNKING, Listening()):
                with closing(Recorder()) as recorder, spooled(meeting) as spool:
                    found = await told(who, task, spool, recorder.pcm)
                    samples = os.pread(recorder.descriptor, 10**8, 0)
                    assert recorder.pcm.size == len(samples)
                    kept.append((found, samples))
        assert kept[:2] == kept[2:]

    run(scene)


@pytest.mark.slow
def test_a_padded_file_is_the_same(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        made = []
        for who in (decoders, ThreadDecoders()):
            with Spool(10**9) as output, spooled(meeting) as spool:
                message, beginning = (await told(who, Padding(2.0), spool, output))[-1]
                file = bytes(beginning) + os.pread(output.fileno(), 10**8, len(beginning))
                # The muxer gives each file another number, so what counts is what it holds.
                heard = await whole(ThreadDecoders(), file, Sampling(100.0))
                made.append((message, output.size, heard))
        assert made[0] == made[1]

    run(scene)


def test_what_is_decoded_comes_while_the_rest_arrives(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with Spool(limit=10**9) as spool:
            spool.write(meeting[: len(meeting) // 2])
            async with aclosing(decoders.run(Chunking(3.0, 1.0), spool)) as messages:
                async for message, _ in messages:
                    if isinstance(message, Cut):
                        break
                spool.write(meeting[len(meeting) // 2 :])
                spool.finish()
                assert [message async for message, _ in messages][-1] == Ended(66.482)

    run(scene)


def test_a_file_that_is_complete_is_known_to_be(tmp_path: Path) -> None:
    recording = tmp_path / "recording.mp3"
    recording.write_bytes((SAMPLES / "standup.mp3").read_bytes())
    assert recording.stat().st_size > IN_MEMORY

    async def scene(decoders: ProcessDecoders) -> None:
        found = []
        for who in (decoders, ThreadDecoders()):
            with Spool.of(recording) as spool:
                found.append(await told(who, CHUNKING, spool))
        assert found[0] == found[1]
        assert isinstance(found[0][0][0], Claimed)

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


def test_bytes_that_end_in_an_error_leave_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """FFmpeg goes on to ask for bytes of a WebM. PyAV would print each error but the last."""

    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, (SAMPLES / "standup.webm").read_bytes()) as (rest, spool):
            spool.fail(UpstreamFailed("The host broke off the download."))
            with pytest.raises(UpstreamFailed, match="broke off"):
                await rest

    run(scene)
    printed = capfd.readouterr().err
    assert "being dropped" not in printed
    assert "Traceback" not in printed


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


def test_plain_recordings_share_a_process_that_no_other_gets(meeting: bytes) -> None:
    other = (SAMPLES / "jfk.flac").read_bytes()

    async def scene(decoders: ProcessDecoders) -> None:
        expected = await whole(ThreadDecoders(), meeting)
        for _ in range(3):
            assert await whole(decoders, meeting) == expected
        shared = decoders_alive()[0].pid
        assert await whole(decoders, other) == await whole(ThreadDecoders(), other)
        async with begun(decoders, meeting):
            assert await whole(decoders, meeting) == expected
        await asyncio.to_thread(until, lambda: len(decoders_alive()) == AHEAD + 1)
        assert decoders_alive()[0].pid == shared

    run(scene)


def test_one_that_was_killed_while_it_waited_goes_unnoticed(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        expected = await whole(decoders, meeting)
        decoders_alive()[0].kill()
        assert await whole(decoders, meeting) == expected

    run(scene)


@pytest.mark.parametrize(
    ("made", "plain"),
    [
        (lambda one: one, True),
        (lambda one: one + one, False),
        (lambda one: one[:-2], False),
        (lambda one: one + b"\0", False),
        (lambda one: one.replace(b"WAVE", b"AVI "), False),
        (lambda _: b"", False),
    ],
    ids=["plain", "two joined", "cut", "longer", "another kind", "empty"],
)
def test_which_recordings_no_library_has_to_read(
    meeting: bytes, made: Callable[[bytes], bytes], plain: bool
) -> None:
    with spooled(made(meeting)) as spool:
        assert is_plain(CHUNKING, spool) == plain
        assert not is_plain(Padding(1.0), spool)


def test_a_decoder_that_nobody_waited_for_is_ended(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with spooled(meeting) as spool:
            leaving = asyncio.ensure_future(told(decoders, CHUNKING, spool))
            await asyncio.sleep(0)  # it has asked for a process
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        assert isinstance((await whole(decoders, meeting))[-1][0], Ended)
        await asyncio.to_thread(until, lambda: len(decoders_alive()) == AHEAD + 1)

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
            await asyncio.to_thread(until, lambda: len(decoders_alive()) > AHEAD)
            decoders_alive()[0].kill()
            spool.write(meeting[2:])
            spool.finish()
            assert await work == await whole(ThreadDecoders(), meeting)

    run(scene)


SHORT_FIRST = Chunking(10.0, 1.0, schedule=Schedule((3.0,), whole_seconds=90.0))
"""The first chunk is short, unless the recording says that it is no longer than 90 seconds."""


@pytest.mark.parametrize("name", ["standup.wav", "standup.ogg", "standup.mp3"])
def test_kills_later_lose_and_repeat_nothing(name: str) -> None:
    """The second decoder has the whole file, which says how long it is; the first had a half."""
    data = (SAMPLES / name).read_bytes()

    async def cuts(decoders: Decoders, kill: Callable[[], None]) -> list[tuple[float, bytes]]:
        with Spool(limit=10**9) as spool:
            spool.write(data[: len(data) // 2])
            found: list[tuple[float, bytes]] = []
            async with aclosing(decoders.run(SHORT_FIRST, spool)) as messages:
                async for message, beside in messages:
                    if not isinstance(message, Cut):
                        continue
                    if not found:
                        kill()
                        spool.write(data[len(data) // 2 :])
                        spool.finish()
                    found.append((message.start, bytes(beside)))
            return found

    async def scene(decoders: ProcessDecoders) -> None:
        disturbed = await cuts(decoders, lambda: decoders_alive()[0].kill())
        assert decoders.deaths == 1
        assert disturbed == await cuts(ThreadDecoders(), lambda: None)

    run(scene)


def test_a_chunk_that_is_another_after_a_kill_is_an_error() -> None:
    news = _News()
    assert news.are_in(Cut(0.0, 3 * SAMPLE_RATE, (), 4.0))
    assert not news.are_in(Cut(0.0, 3 * SAMPLE_RATE, (), 4.0))
    for start, seconds in ((0.0, 30), (2.0, 3)):
        with pytest.raises(EngineFailed, match="send it again"):
            news.are_in(Cut(start, seconds * SAMPLE_RATE, (), 40.0))
    assert news.are_in(Cut(3.0, 3 * SAMPLE_RATE, (), 8.0))
    assert not news.are_in(Passed(7.0))


@given(st.lists(st.floats(0.001, 40.0), max_size=60))
def test_news_do_not_bring_decoders_without_end(steps: list[float]) -> None:
    """A decoder that was taken over says something, and looks as if it was killed."""
    news, seconds = _News(), 0.0
    decoders = 1
    for step in [*steps, *[100.0] * 20]:
        seconds += step
        assert news.are_in(Passed(seconds))
        if not news.may_go_on():
            break
        decoders += 1
    assert decoders <= 10


def test_kills_leave_a_kept_recording_as_it_is(meeting: bytes) -> None:
    async def kept(decoders: Decoders, kill: Callable[[], None]) -> tuple[bytes, bytes]:
        with Spool(limit=10**9) as spool, closing(Recorder()) as recorder:
            spool.write(meeting[: len(meeting) // 2])
            async with aclosing(decoders.run(CHUNKING, spool, recorder.pcm)) as messages:
                await anext(messages)
                kill()
                spool.write(meeting[len(meeting) // 2 :])
                spool.finish()
                *_, (_, probabilities) = [one async for one in messages]
            return os.pread(recorder.descriptor, 10**9, 0), bytes(probabilities)

    async def scene(decoders: ProcessDecoders) -> None:
        disturbed = await kept(decoders, lambda: decoders_alive()[0].kill())
        assert decoders.deaths == 1
        assert disturbed == await kept(ThreadDecoders(), lambda: None)

    run(scene)


def test_one_that_is_killed_again_and_again_is_given_up(meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        def given_up() -> bool:
            for one in decoders_alive():
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            return rest.done()

        async with begun(decoders, meeting) as (rest, _):
            await asyncio.to_thread(until, given_up)
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


@pytest.fixture(scope="module")
def alone() -> Iterator[Executor]:
    """A process that starts those whose memory is measured.

    Linux counts what a process takes as that of one that it starts, too, and the process of the
    tests may have taken any amount.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: iso.many_samples(85_000_000), "no decodable audio"),
        (lambda: alac.huge_packet(16_700_000), "16700000 samples|memory|no decodable"),
        (lambda: iso.many_pictures(999), "more than 128 tracks"),
    ],
    ids=["sample table", "packet", "tracks"],
)
def test_a_bomb_is_refused_and_takes_little_memory(
    make: Callable[[], bytes], reason: str, alone: Executor
) -> None:
    said, kilobytes = alone.submit(refused, make()).result()
    assert re.search(reason, said)
    assert kilobytes <= 400_000


def refused(data: bytes) -> tuple[str, int]:
    """Why a recording is refused, and the most kilobytes that a child of this process has taken."""
    said = ""

    async def scene(decoders: ProcessDecoders) -> None:
        nonlocal said
        with pytest.raises(UndecodableAudio) as error:
            await whole(decoders, data)
        said = str(error.value)

    run(scene)
    return said, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


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


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels choose by themselves")
def test_they_are_the_first_to_go_when_the_machine_has_no_memory_left(meeting: bytes) -> None:
    found = []

    def look(pid: int) -> None:
        found.append(int(Path(f"/proc/{pid}/oom_score_adj").read_text()))

    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting):
            look(decoders_alive()[0].pid)

    run(scene)
    look(os.getpid())
    decoder, server = found
    assert decoder == 1000 > server


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("open('/etc/hostname')", "PermissionError"),
        ("open('/tmp/x', 'w')", "PermissionError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import os; os.execv('/bin/true', ['true'])", "PermissionError"),
        ("import os; os.kill(os.getppid(), 0)", "PermissionError"),
        ("import os; os.kill(os.getpid(), 0)", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import os; os.truncate(2, 0)", "PermissionError"),
        ("import os; os.utime(2)", "PermissionError"),
        ("import resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU)", "PermissionError"),
        ("import signal; signal.pthread_kill(threading.get_ident(), 9)", "PermissionError"),
        ("import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_EXEC)", "PermissionError"),
        ("import mmap; mmap.mmap(-1, 4096); print('fine')", "fine"),
        ("bytearray(300_000_000)", "MemoryError"),
        ("bytearray(50_000_000); print('fine')", "fine"),
        ("import threading; t = threading.Thread(target=print, args=('fine',)); t.start()", "fine"),
    ],
)
def test_a_confined_process_can_compute_and_nothing_else(act: str, said: str) -> None:
    code = (
        "import mmap, socket, os, resource, signal, threading, traceback\n"
        "from reflector_gpu.decoding.sandbox import confine, size\n"
        "assert confine(size() + 256_000_000)\n"
        f"{act}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr


def test_what_it_can_do_is_refused_by_the_numbers_of_either_machine() -> None:
    programs = {_filter(machine) for machine in ("x86_64", "aarch64")}
    assert len(programs) == 2
    assert not _filter("a machine of another kind")


def test_time_is_limited_by_the_length_of_the_recording() -> None:
    code = (
        "from reflector_gpu.decoding.sandbox import CpuAllowance, _cpu_seconds\n"
        "import resource\n"
        "allowance = CpuAllowance()\n"
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
