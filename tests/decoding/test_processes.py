"""Decoders in processes of their own: what they find."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import TypeAlias

import pytest

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import IN_MEMORY, Spool
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import Claimed, Cut, Ended, Told
from reflector_gpu.decoding.processes import ProcessDecoders
from reflector_gpu.decoding.tasks import Chunking, Listening, Padding, Sampling
from reflector_gpu.decoding.threads import ThreadDecoders
from reflector_gpu.errors import InvalidRequest, TooLarge, UndecodableAudio, UpstreamFailed
from tests.conftest import SAMPLES
from tests.decoding.processes import CHUNKING, Scene, begun, running, spooled, told, whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them")


Run: TypeAlias = Callable[[Scene], None]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with running() as run:
        yield run


@pytest.mark.parametrize("task", [CHUNKING, Sampling(100.0)])
def test_they_find_what_is_found_in_this_process(
    run: Run, meeting: bytes, task: DecodeTask
) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        assert await whole(decoders, meeting, task) == await whole(ThreadDecoders(), meeting, task)

    run(scene)


def test_a_recording_is_kept_for_a_diarizer(run: Run, meeting: bytes) -> None:
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
def test_a_padded_file_is_the_same(run: Run, meeting: bytes) -> None:
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


def test_what_is_decoded_comes_while_the_rest_arrives(run: Run, meeting: bytes) -> None:
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


def test_a_file_that_is_complete_is_known_to_be(run: Run, tmp_path: Path) -> None:
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
def test_the_error_that_ends_the_bytes_is_told(
    run: Run, meeting: bytes, error: InvalidRequest
) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, spool):
            spool.fail(error)
            with pytest.raises(type(error), match=error.message):
                await rest

    run(scene)


def test_an_error_of_the_job_comes_as_it_is(run: Run, meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        with pytest.raises(TooLarge, match="longer than this server's limit of 5 seconds"):
            await whole(decoders, meeting, Chunking(10.0, 1.0, max_seconds=5.0))
        with pytest.raises(UndecodableAudio, match="is empty") as caught:
            await whole(decoders, b"")
        assert caught.value.param == "file"

    run(scene)


def test_recordings_are_decoded_side_by_side(run: Run, meeting: bytes) -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting) as (rest, _):
            assert isinstance((await whole(decoders, meeting))[-1][0], Ended)
            assert not rest.done()
            rest.cancel()
            await asyncio.gather(rest, return_exceptions=True)

    run(scene)
