"""Decoding a recording whose bytes are still on their way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    ReflectorError,
    ShuttingDown,
    StorageFull,
    TooLarge,
    UndecodableAudio,
    UpstreamFailed,
    UpstreamTimeout,
)
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.audio.media import Form, decoded, encode
from tests.waiting import PATIENCE_SECONDS, until

READ_AT_ONCE = {
    "wav": Form("wav", "pcm_s16le"),
    "mp3": Form("mp3", "libmp3lame", 44_100),
    "webm": Form("webm", "libopus", 48_000),
    "ogg": Form("ogg", "libopus", 48_000),
    "flac": Form("flac", "flac", 16_000),
    "aac": Form("adts", "aac", 44_100),
    "mp4 index first": Form("mp4", "aac", 44_100, muxing={"movflags": "faststart"}),
    "mp4 in fragments": Form("mp4", "aac", 44_100, muxing={"movflags": "empty_moov+frag_keyframe"}),
    "mpeg": Form("mpegts", "aac", 44_100),
}
INDEX_LAST = {
    "mp4 index last": Form("mp4", "aac", 44_100),
    "mov": Form("mov", "pcm_s16le", 16_000),
}


class Watched(Spool):
    """Tells how far its readers have asked, and how often; may hand out little at a time."""

    def __init__(self, mouthful: int = 1 << 30) -> None:
        super().__init__(limit=10**9)
        self.asked = self.reads = 0
        self._mouthful = mouthful

    @property
    def starving(self) -> bool:
        """Whether a reader waits for bytes that have not come."""
        return self.asked >= self.size and not self.complete

    def read_at(self, offset: int, count: int) -> bytes:
        self.reads += 1
        self.asked = max(self.asked, offset)
        return super().read_at(offset, min(count, self._mouthful))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def spool() -> Iterator[Watched]:
    """Closed before the thread that reads from it is waited for."""
    with Watched() as spool:
        yield spool


SECONDS = 12


@pytest.fixture(scope="module")
def meeting(speech: Samples) -> Callable[[str], bytes]:
    """`SECONDS` of speech in a form, by name."""
    forms = {**READ_AT_ONCE, **INDEX_LAST}
    return functools.cache(lambda name: encode(speech[: SECONDS * SAMPLE_RATE], forms[name]))


@pytest.mark.parametrize("name", READ_AT_ONCE)
def test_decoding_begins_before_the_last_byte(
    name: str, meeting: Callable[[str], bytes], pool: ThreadPoolExecutor, spool: Watched
) -> None:
    data = meeting(name)
    middle = len(data) // 2
    spool.write(data[:middle])
    found = decode(spool.reader())
    first = pool.submit(next, found).result(PATIENCE_SECONDS)
    assert len(first) > 0
    spool.write(data[middle:])
    spool.finish()
    rest = pool.submit(list, found).result(PATIENCE_SECONDS)
    assert len(np.concatenate([first, *rest])) / SAMPLE_RATE == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("name", INDEX_LAST)
def test_an_index_at_the_end_is_waited_for(
    name: str, meeting: Callable[[str], bytes], pool: ThreadPoolExecutor, spool: Watched
) -> None:
    data = meeting(name)
    spool.write(data[: len(data) // 2])
    work = pool.submit(lambda: list(decode(spool.reader())))
    until(lambda: spool.starving)
    assert not work.done()
    spool.write(data[len(data) // 2 :])
    spool.finish()
    found = np.concatenate(work.result(PATIENCE_SECONDS))
    assert len(found) / SAMPLE_RATE == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("name", [*READ_AT_ONCE, *INDEX_LAST])
def test_bytes_may_come_in_crumbs(name: str, speech: Samples) -> None:
    data = encode(speech[:SAMPLE_RATE], {**READ_AT_ONCE, **INDEX_LAST}[name])
    with Watched(mouthful=7) as spool:
        reader = spool.reader()
        spool.write(data)
        spool.finish()
        found = np.concatenate(list(decode(reader)))
    assert len(found) == pytest.approx(len(decoded(data)), abs=800)  # MP3 without its end


FAILURES = [
    UpstreamFailed("The audio host misbehaves."),
    UpstreamTimeout("The audio host is too slow."),
    TooLarge("The audio is too large."),
    StorageFull("The disk is full."),
    ShuttingDown("Bye."),
]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        *(("wav", error) for error in FAILURES),
        *((name, FAILURES[2]) for name in READ_AT_ONCE | INDEX_LAST),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_failed_arrival_is_told_and_not_taken_for_the_end(
    name: str,
    error: ReflectorError,
    meeting: Callable[[str], bytes],
    pool: ThreadPoolExecutor,
    spool: Watched,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = meeting(name)
    spool.write(data[: len(data) // 2])
    work = pool.submit(lambda: list(decode(spool.reader())))
    until(lambda: spool.starving)
    spool.fail(error)
    found = work.exception(PATIENCE_SECONDS)
    assert (type(found), str(found)) == (type(error), str(error))
    assert capfd.readouterr().err == ""  # where PyAV writes tracebacks


@pytest.mark.parametrize("given", [b"", b"RIFF", b"\0\0\0\x1cftypisom"])
def test_a_failure_right_at_the_beginning(
    given: bytes, pool: ThreadPoolExecutor, spool: Watched
) -> None:
    spool.write(given)
    work = pool.submit(lambda: list(decode(spool.reader())))
    until(lambda: spool.starving)
    spool.fail(UpstreamFailed("The audio host misbehaves."))
    assert isinstance(work.exception(PATIENCE_SECONDS), UpstreamFailed)


def test_closing_the_spool_ends_the_decoder(
    meeting: Callable[[str], bytes], pool: ThreadPoolExecutor, spool: Watched
) -> None:
    spool.write(meeting("wav")[:20_000])
    work = pool.submit(lambda: list(decode(spool.reader())))
    until(lambda: spool.starving)
    spool.close()
    assert isinstance(work.exception(PATIENCE_SECONDS), ShuttingDown)


def box(kind: bytes, size: int) -> bytes:
    return size.to_bytes(4, "big") + kind


@pytest.mark.parametrize(
    "data",
    [
        box(b"ftyp", 8) + box(b"free", 8) * 100_000,
        box(b"ftyp", 8) + bytes(1_000_000),
        box(b"ftyp", 8) + box(b"free", 1) + b"\xff" * 8,
        box(b"ftyp", 8) + box(b"free", 1) + b"\x7f" + b"\xff" * 7,
        box(b"mdat", 1) + b"\xff" * 8 + bytes(100),
        box(b"ftyp", 2**32 - 1),
    ],
    ids=["many boxes", "zeros", "64 bits", "63 bits", "huge samples", "huge type"],
)
def test_odd_boxes_cost_little(data: bytes) -> None:
    with Watched() as spool:
        reader = spool.reader()
        spool.write(data)
        spool.finish()
        with pytest.raises(UndecodableAudio):
            list(decode(reader))
        assert spool.reads < 2_000
