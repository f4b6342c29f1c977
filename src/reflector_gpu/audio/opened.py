"""Recordings in files that a program has opened."""

from __future__ import annotations

import io
import os
import stat
import sys
from contextlib import ExitStack
from typing import IO

from reflector_gpu.audio.spool import Spool

_COPIED_AT_ONCE = 1 << 20  # bytes


def spool_of(file: IO[bytes], directory: os.PathLike[str] | None = None) -> Spool:
    """A spool of what ``file`` has from its position on. The file stays open.

    A file on disk at its first byte is read in place. Any other file is copied to ``directory``.

    Raises:
        TypeError: it gives text.
        StorageFull: there is no room for a copy.
        OSError: it cannot be read.
    """
    if hasattr(file, "encoding"):  # as those that give text have
        raise TypeError("The file gives text; open it in binary mode: open(path, 'rb').")
    if _is_untouched(file):
        return Spool.over(io.FileIO(os.dup(file.fileno())))
    with ExitStack() as unless_whole:
        spool = unless_whole.enter_context(Spool(sys.maxsize, directory))
        while data := file.read(_COPIED_AT_ONCE):
            spool.write(data)
        spool.finish()
        unless_whole.pop_all()
    return spool


def _is_untouched(file: IO[bytes]) -> bool:
    """Whether ``file`` is on disk and stands at its beginning.

    Other classes than these may read something else than what is on disk, as those of gzip do.
    """
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if not isinstance(raw, io.FileIO) or not file.seekable() or file.tell() != 0:
        return False
    return stat.S_ISREG(os.fstat(raw.fileno()).st_mode)
