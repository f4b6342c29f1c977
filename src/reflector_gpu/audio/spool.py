"""Holds a recording that is read while it still arrives: in memory if it is short, else on disk.

An upload or a download writes, on the event loop. A decoder reads, in another process. The file
between them has no name, so nothing is left on disk however the processes end.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
import threading
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Protocol, Self

from reflector_gpu.errors import ReflectorError, ShuttingDown, StorageFull, TooLarge

IN_MEMORY = 65_536
"""A recording of so many bytes or fewer gets no file."""

THINNEST = 250
"""Bytes a second: no codec makes less of speech."""


class Spool:
    """An append-only temporary file with a byte limit and blocking readers. Thread-safe."""

    def __init__(
        self,
        limit: int,
        directory: os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``limit`` is in bytes; ``directory`` defaults to the system's temporary one."""
        self.clock = clock
        """Tells seconds, to measure how long bytes are waited for."""
        self._directory = directory
        self._held = bytearray()  # the recording, while there is no file
        self._file: io.FileIO | None = None
        self._limit = limit
        self._size = 0
        self._complete = False
        self._closed = False
        self._error: ReflectorError | None = None
        self._grown = threading.Condition()
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    def of(cls, path: Path) -> Spool:
        """A spool of the file ``path``, which is complete and read in place.

        Raises:
            OSError: it cannot be opened.
        """
        return cls.over(path.open("rb", buffering=0))

    @classmethod
    def over(cls, file: io.FileIO) -> Spool:
        """A spool of ``file``, complete and read in place. Closing the spool closes it."""
        spool = cls(limit=0)
        spool._file = file
        spool._size = os.fstat(file.fileno()).st_size
        spool.finish()
        return spool

    @classmethod
    def onto(cls, file: io.FileIO, limit: int) -> Spool:
        """An empty spool that appends to ``file``. Closing the spool closes it."""
        spool = cls(limit)
        spool._file = file
        return spool

    @property
    def in_memory(self) -> bytes | None:
        """The recording, if it is complete and short enough to have no file."""
        with self._grown:
            return bytes(self._held) if self._complete and self._file is None else None

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    @property
    def plausible_seconds(self) -> float:
        """How long the audio in the bytes so far can be, if it is speech."""
        return self._size / THINNEST

    @property
    def complete(self) -> bool:
        """Whether the last byte has arrived."""
        return self._complete

    @property
    def closed(self) -> bool:
        return self._closed

    def fileno(self) -> int:
        """The descriptor of the file, to which a short recording moves from memory.

        Raises:
            StorageFull: there is no room for it.
            ShuttingDown: the spool is closed.
        """
        with self._grown:
            if self._closed:
                raise ShuttingDown("The recording was dropped.")
            return self._on_disk().fileno()

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            TooLarge: the recording would pass the byte limit.
            StorageFull: the disk is full.
            ShuttingDown: the spool is closed.
        """
        self._check_size(self._size + len(data))
        with self._grown:
            if self._closed:
                raise ShuttingDown("The recording was dropped before it was complete.")
            if self._file is None and self._size + len(data) <= IN_MEMORY:
                self._held += data
                self._size += len(data)
            else:
                self._append(data)
            self._wake()

    def finish(self) -> None:
        """No more bytes will come."""
        with self._grown:
            self._complete = True
            self._wake()

    def fail(self, error: ReflectorError) -> None:
        """Readers get ``error`` instead of waiting for bytes that will not come.

        The first error is the one that counts.
        """
        with self._grown:
            self._error = self._error or error
            self._wake()

    def close(self) -> None:
        """Free the file and wake every reader. Safe to call twice."""
        with self._grown:
            if self._error is None:
                self._error = ShuttingDown("The recording was dropped before it was read.")
            self._closed = True
            self._held = bytearray()
            if self._file is not None:
                self._file.close()
            self._wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_at(self, offset: int, count: int) -> bytes:
        """Wait for the byte at ``offset``; up to ``count`` bytes from there, ``b""`` at the end.

        Raises:
            ReflectorError: the error that `fail` was given, or the spool is closed.
        """
        with self._grown:
            self._grown.wait_for(lambda: self._is_settled(offset))
            self._check_open(offset)
            if offset >= self._size:
                return b""
            if self._file is None:
                return bytes(self._held[offset : offset + count])
            return os.pread(self._file.fileno(), min(count, self._size - offset), offset)

    async def reached(self, offset: int) -> float:
        """Wait until it is known whether there is a byte at ``offset``: the seconds it took.

        Raises:
            ReflectorError: as `read_at`.
        """
        import asyncio  # here, because decoders need none, and it takes long

        loop, news, began = asyncio.get_running_loop(), asyncio.Event(), self.clock()

        def tell() -> None:
            loop.call_soon_threadsafe(news.set)

        self._listeners.append(tell)
        try:
            while not self._is_settled(offset):
                await news.wait()
                news.clear()
        finally:
            self._listeners.remove(tell)
        with self._grown:
            self._check_open(offset)
        return self.clock() - began

    def measure(self) -> None:
        """Take note of what another process has appended to the file.

        Raises:
            TooLarge: that is more than the limit.
        """
        with self._grown:
            if self._file is not None and not self._closed:
                self._size = os.fstat(self._file.fileno()).st_size
                self._wake()
        self._check_size(self._size)

    def begin_anew(self) -> None:
        """Have another process write the file once more, from its first byte, over what is there.

        It must write the same.
        """
        os.lseek(self.fileno(), 0, os.SEEK_SET)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge(
                f"The audio is larger than this server's limit of {_megabytes(self._limit)}.",
                param="file",
            )

    def _is_settled(self, offset: int) -> bool:
        """Whether it is known if there is a byte at ``offset``."""
        return self._error is not None or self._complete or self._size > offset

    def _check_open(self, offset: int) -> None:
        if self._error is not None and (self._closed or self._size <= offset):
            raise copy(self._error)  # the traceback of one that is kept would keep the reader

    def _wake(self) -> None:
        self._grown.notify_all()
        for listener in tuple(self._listeners):
            listener()

    def _append(self, data: bytes | bytearray) -> None:
        view, file = memoryview(data), self._on_disk()
        while view:
            try:
                written = file.write(view)
            except OSError as error:
                raise _storage_error(error) from error
            self._size += written
            view = view[written:]

    def _on_disk(self) -> io.FileIO:
        """The file; if there is none yet, it is made of what was held in memory."""
        if self._file is None:
            try:
                folder = None if self._directory is None else os.fspath(self._directory)
                self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  ours
            except OSError as error:
                raise _storage_error(error) from error
            held, self._held, self._size = self._held, bytearray(), 0
            self._append(held)
        return self._file

    def reader(self) -> SpoolReader:
        """A file-like view for a decoder, from the first byte."""
        return SpoolReader(TimedSpool(self))


class ByteSource(Protocol):
    """Where a reader's bytes come from: a `Spool`, or a view of one in another process."""

    @property
    def size(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def waited(self) -> float:
        """Seconds that ``read_at`` has waited for bytes so far."""

    def read_at(self, offset: int, count: int) -> bytes: ...


class TimedSpool:
    """Reads a spool for one reader, and counts how long that reader waited for bytes."""

    def __init__(self, spool: Spool) -> None:
        self.waited = 0.0
        self._spool = spool

    @property
    def size(self) -> int:
        return self._spool.size

    @property
    def complete(self) -> bool:
        return self._spool.complete

    def read_at(self, offset: int, count: int) -> bytes:
        began = self._spool.clock()
        data = self._spool.read_at(offset, count)
        self.waited += self._spool.clock() - began
        return data


class SpoolReader:
    """A file-like view of a spool for PyAV. It can seek once the recording is complete.

    Where it can seek, FFmpeg reads the end of a file first, for tags and durations: a decoder would
    wait for the last byte of a download. `allow_seeking` is for files that cannot be read
    otherwise, such as an MP4 with its index at the end.
    """

    def __init__(self, spool: ByteSource, begin: int = 0) -> None:
        """The view starts at byte ``begin`` of ``spool``."""
        self._spool = spool
        self._begin = begin
        self._position = 0
        self._may_seek = spool.complete
        self._failed = False

    @property
    def total(self) -> int | None:
        """Bytes of the whole recording; None while it still arrives."""
        return self._spool.size - self._begin if self._spool.complete else None

    @property
    def waited(self) -> float:
        """Seconds that were spent waiting for bytes so far."""
        return self._spool.waited

    def behind(self, offset: int) -> SpoolReader:
        """A view that starts at byte ``offset`` of this one."""
        return SpoolReader(self._spool, self._begin + offset)

    def allow_seeking(self) -> None:
        self._may_seek = True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._may_seek

    def tell(self) -> int:
        return self._position

    def read(self, count: int = 65536) -> bytes:
        """The next bytes. After an error there are none.

        PyAV raises the first error itself, once FFmpeg has stopped asking for bytes. It would write
        a traceback to standard error for each further one.
        """
        if self._failed:
            return b""
        try:
            data = self._spool.read_at(self._begin + self._position, count)
        except ReflectorError:
            self._failed = True
            raise
        self._position += len(data)
        return data

    def peek(self, offset: int, count: int) -> bytes:
        """The ``count`` bytes at ``offset``, fewer only at the end. The position stays."""
        data = b""
        while more := self._spool.read_at(self._begin + offset + len(data), count - len(data)):
            data += more
            if len(data) == count:
                break
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the position; -1, FFmpeg's "cannot", if the end is not known yet."""
        if whence == os.SEEK_END:
            if not self._spool.complete:
                return -1
            offset += self._spool.size - self._begin
        elif whence == os.SEEK_CUR:
            offset += self._position
        if offset < 0:
            return -1
        self._position = offset
        return offset


def _storage_error(error: OSError) -> ReflectorError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StorageFull("The server has too many files open; try again later.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The server's temporary storage is full; try again later.")
    return StorageFull("The server cannot write to its temporary storage; try again later.")


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:g} MB" if count >= 1_000_000 else f"{count} bytes"
