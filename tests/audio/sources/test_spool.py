"""The file between a writer on the event loop and readers in threads."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.audio.spool import IN_MEMORY, Spool
from reflector_gpu.errors import ReflectorError, ShuttingDown, StorageFull, TooLarge, UpstreamFailed
from tests.arrival import ArrivalClock
from tests.disks import small_disk
from tests.waiting import PATIENCE_SECONDS, until

LONG = bytes(IN_MEMORY + 1)


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def spool() -> Iterator[Spool]:
    with Spool(limit=10_000) as spool:
        yield spool


class Waiting(Spool):
    """Tells when a reader has begun to ask."""

    asked = False

    def read_at(self, offset: int, count: int) -> bytes:
        self.asked = True
        return super().read_at(offset, count)


@pytest.fixture
def waiting() -> Iterator[Callable[[Callable[[Spool], None]], object]]:
    """What a reader gets that waits for the first byte while the spool is acted upon."""
    with ThreadPoolExecutor(2) as pool, Waiting(limit=10_000) as spool:

        def outcome(act: Callable[[Spool], None]) -> object:
            readers = [pool.submit(spool.read_at, 0, 100) for _ in range(2)]
            until(lambda: spool.asked)
            act(spool)
            first, second = (reader.exception(PATIENCE_SECONDS) for reader in readers)
            assert type(first) is type(second)
            return first if first is not None else readers[0].result()

        yield outcome


def test_a_read_waits_for_the_first_byte(
    waiting: Callable[[Callable[[Spool], None]], object],
) -> None:
    assert waiting(lambda spool: spool.write(b"abc")) == b"abc"


def test_a_read_ends_with_the_recording(
    waiting: Callable[[Callable[[Spool], None]], object],
) -> None:
    assert waiting(lambda spool: spool.finish()) == b""


def test_a_failure_wakes_readers(waiting: Callable[[Callable[[Spool], None]], object]) -> None:
    error = UpstreamFailed("The audio host misbehaves.")
    raised = waiting(lambda spool: spool.fail(error))
    assert isinstance(raised, UpstreamFailed)
    assert raised.message == error.message
    assert error.__traceback__ is None  # it would keep the readers that it was raised in


def test_closing_wakes_readers(waiting: Callable[[Callable[[Spool], None]], object]) -> None:
    assert isinstance(waiting(lambda spool: spool.close()), ShuttingDown)


def test_what_arrived_before_a_failure_can_be_read(spool: Spool) -> None:
    spool.write(b"abc")
    spool.fail(UpstreamFailed("The audio host misbehaves."))
    assert spool.read_at(0, 100) == b"abc"
    with pytest.raises(UpstreamFailed):
        spool.read_at(3, 100)


@pytest.mark.parametrize("offset", [3, 4, 10**6, 2**63 - 1, 2**64])
def test_past_the_end_there_is_nothing(offset: int, spool: Spool) -> None:
    spool.write(b"abc")
    spool.finish()
    assert spool.read_at(offset, 10) == b""


def test_the_limit_counts_all_writes(spool: Spool) -> None:
    spool.write(bytes(6_000))
    spool.write(bytes(4_000))
    with pytest.raises(TooLarge, match="10000 bytes"):
        spool.write(b"1")
    assert spool.size == 10_000


def test_a_write_over_the_limit_writes_nothing(spool: Spool) -> None:
    with pytest.raises(TooLarge) as refusal:
        spool.write(bytes(10_001))
    assert refusal.value.param == "file"
    assert spool.size == 0


def test_a_large_limit_is_told_in_megabytes() -> None:
    with Spool(limit=25_000_000) as spool, pytest.raises(TooLarge, match=r"limit of 25 MB\."):
        spool.write(bytes(25_000_001))


def test_a_closed_spool_takes_and_gives_nothing(spool: Spool) -> None:
    spool.write(b"abc")
    spool.close()
    spool.close()
    with pytest.raises(ShuttingDown):
        spool.write(b"d")
    with pytest.raises(ShuttingDown):
        spool.read_at(0, 1)


def test_a_failure_outlives_the_spool(spool: Spool) -> None:
    spool.fail(UpstreamFailed("The audio host misbehaves."))
    spool.close()
    with pytest.raises(UpstreamFailed):
        spool.read_at(0, 1)


def test_the_file_has_no_name(tmp_path: Path) -> None:
    with Spool(limit=10**6, directory=tmp_path) as spool:
        spool.write(LONG)
        assert os.fstat(spool.fileno()).st_size == len(LONG)
        assert list(tmp_path.iterdir()) == []


def test_closing_frees_the_file() -> None:
    before = descriptors()
    for _ in range(5):
        with Spool(limit=10**6) as spool:
            spool.write(LONG)
            assert descriptors() == before + 1
    assert descriptors() == before


def test_what_is_short_needs_no_disk(tmp_path: Path) -> None:
    with Spool(limit=10**6, directory=tmp_path / "missing") as spool:
        spool.write(bytes(IN_MEMORY))
        spool.finish()
        assert spool.read_at(IN_MEMORY - 1, 10) == b"\0"
        assert spool.read_at(IN_MEMORY, 10) == b""


def test_a_file_is_made_on_demand_with_everything_in_it(spool: Spool) -> None:
    spool.write(b"abc")
    file = spool.fileno()
    spool.write(b"def")
    assert os.pread(file, 10, 0) == spool.read_at(0, 10) == b"abcdef"
    assert spool.fileno() == file


def test_a_closed_spool_makes_no_file(spool: Spool) -> None:
    spool.write(b"abc")
    spool.close()
    assert spool.closed
    with pytest.raises(ShuttingDown):
        spool.fileno()


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, 64) as disk, Spool(limit=10**6, directory=disk) as spool:
        spool.write(b"x" * 50_000)
        with pytest.raises(StorageFull, match="full"):
            spool.write(b"x" * 50_000)
        assert 50_000 < spool.size <= 65_536
        assert spool.read_at(spool.size - 1, 1) == b"x"


def test_how_long_bytes_were_waited_for_is_known() -> None:
    clock = ArrivalClock()
    with ThreadPoolExecutor(1) as pool, Spool(limit=10_000, clock=clock) as spool:
        reader = spool.reader()
        found = pool.submit(reader.read)
        clock.awaited(5.0)
        spool.write(b"abc")
        assert found.result(PATIENCE_SECONDS) == b"abc"
        reached = pool.submit(asyncio.run, spool.reached(3))
        clock.awaited(7.0)
        spool.write(b"d")
        assert reached.result(PATIENCE_SECONDS) == 7.0
        assert reader.read() == b"d"
        assert reader.waited == 5.0
        assert spool.reader().waited == 0.0  # each counts its own


class Broken(io.RawIOBase):
    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, data: object) -> int:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EIO, "cannot write"),
        (errno.EROFS, "cannot write"),
    ],
)
def test_every_failure_of_the_disk_is_told(
    number: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Broken(number))
    with Spool(limit=10**6) as spool, pytest.raises(StorageFull, match=message):
        spool.write(LONG)


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    with (
        Spool(limit=10**6, directory=tmp_path / "missing") as spool,
        pytest.raises(StorageFull) as failure,
    ):
        spool.write(LONG)
    assert str(tmp_path) not in failure.value.message


def test_no_file_descriptors_left() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = max(int(path.name) for path in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 3, hard))
    spools = [Spool(limit=10**6) for _ in range(taken + 10)]

    def fill() -> None:
        for spool in spools:
            spool.write(LONG)

    try:
        with pytest.raises(StorageFull):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for spool in spools:
            spool.close()


PIECES = st.lists(st.binary(max_size=300), max_size=20)
READS = st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 500)), max_size=20)
IN_MEMORY_OF = st.sampled_from([0, 100, 1_000, IN_MEMORY])


@settings(max_examples=60)
@given(PIECES, READS, IN_MEMORY_OF)
def test_any_read_gives_what_was_written_there(
    pieces: list[bytes], reads: list[tuple[int, int]], in_memory: int
) -> None:
    whole = b"".join(pieces)
    with patch("reflector_gpu.audio.spool.IN_MEMORY", in_memory), Spool(limit=10**6) as spool:
        for piece in pieces:
            before = spool.size
            spool.write(piece)
            if piece:
                assert spool.read_at(before, 10**6) == piece
        spool.finish()
        for offset, count in reads:
            assert spool.read_at(offset, count) == whole[offset : offset + count]


@settings(max_examples=40)
@given(PIECES, st.integers(1, 200), st.booleans(), IN_MEMORY_OF)
def test_a_reader_beside_the_writer_misses_nothing(
    pieces: list[bytes], count: int, failing: bool, in_memory: int
) -> None:
    def read_all(spool: Spool) -> tuple[bytes, ReflectorError | None]:
        reader, found = spool.reader(), b""
        try:
            while data := reader.read(count):
                found += data
        except ReflectorError as error:
            return found, error
        return found, None

    with (
        patch("reflector_gpu.audio.spool.IN_MEMORY", in_memory),
        ThreadPoolExecutor(1) as pool,
        Spool(limit=10**6) as spool,
    ):
        reading = pool.submit(read_all, spool)
        for piece in pieces:
            spool.write(piece)
        if failing:
            spool.fail(UpstreamFailed("The audio host misbehaves."))
        else:
            spool.finish()
        read, error = reading.result(PATIENCE_SECONDS)
        assert read == b"".join(pieces)
        assert isinstance(error, UpstreamFailed) == failing


MOVES = st.lists(
    st.tuples(st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]), st.integers(-400, 400))
    | st.integers(0, 100),
    max_size=30,
)


@settings(max_examples=60)
@given(st.binary(max_size=300), MOVES)
def test_a_reader_moves_as_in_a_file(data: bytes, moves: list[tuple[int, int] | int]) -> None:
    with Spool(limit=1_000) as spool:
        spool.write(data)
        spool.finish()
        reader, file = spool.reader(), io.BytesIO(data)
        assert reader.readable()
        assert reader.seekable()
        for move in moves:
            if isinstance(move, int):
                assert reader.read(move) == file.read(move)
                continue
            whence, offset = move
            base = {os.SEEK_SET: 0, os.SEEK_CUR: file.tell(), os.SEEK_END: len(data)}[whence]
            if base + offset < 0:
                assert reader.seek(offset, whence) == -1
            else:
                assert reader.seek(offset, whence) == file.seek(base + offset)
            assert reader.tell() == file.tell()


def test_a_recording_that_still_arrives_is_read_straight_through(spool: Spool) -> None:
    reader = spool.reader()
    assert not reader.seekable()
    spool.write(b"abc")
    assert reader.seek(0, os.SEEK_END) == -1
    reader.allow_seeking()
    assert reader.seekable()
    assert reader.seek(0, os.SEEK_END) == -1
    spool.finish()
    assert reader.seek(-1, os.SEEK_END) == 2
    assert reader.read() == b"c"
