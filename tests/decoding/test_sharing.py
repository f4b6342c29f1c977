"""Which recordings share a decoder, and which have one of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import psutil
import pytest

from reflector_gpu.decoding.processes import ProcessDecoders
from reflector_gpu.decoding.tasks import Padding, is_plain
from reflector_gpu.decoding.threads import ThreadDecoders
from tests.conftest import SAMPLES
from tests.decoding.processes import AHEAD, CHUNKING, begun, decoders_alive, run, spooled, whole
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them")


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
