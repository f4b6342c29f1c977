"""Hides unusual channel layouts from the decoder, because they crash PyAV.

QuickTime, AIFF and CAF may say which channel is which (``chan``), and so may MP4 (``chnl``). If
that is none of FFmpeg's usual orders, the layout is on the heap, and PyAV from 17.1 on (its pull
request 2284) frees it once for each copy. So a surround recording from a Mac would end the process.
PyAV before 18.1 crashes on damaged AVI instead. Without the layout, FFmpeg takes the usual order
for the number of channels, which makes little difference to their sum.
"""

from __future__ import annotations

import os
import re

from reflector_gpu.audio.spool import SpoolReader

_NAMES = (b"chan", b"chnl", b"CHAN")
_UNKNOWN_NAME = b"free"
# A renamed chunk of CAF could not be skipped while it arrives, so its content is replaced.
_CAF_TAG = re.compile(rb"(?<=chan.{8}).{1,4}", re.DOTALL)
_UNKNOWN_TAG = b"\xff\xff\0\0"
_AROUND = 15  # bytes before a read in which a layout may begin


class WithoutLayouts:
    """A file for PyAV with the same bytes, except that channel layouts are unknown."""

    def __init__(self, reader: SpoolReader) -> None:
        self._reader = reader
        kind = reader.peek(0, 4)
        self._unchanged = kind == b"OggS"  # has checksums, and no such layouts
        self._caf = kind == b"caff"

    def read(self, count: int) -> bytes:
        begin = self._reader.tell()
        data = self._reader.read(count)
        if not data or self._unchanged:
            return data
        before = min(begin, _AROUND)
        window = self._reader.peek(begin - before, before) + data
        if self._caf:
            window = _CAF_TAG.sub(lambda tag: _UNKNOWN_TAG[: len(tag[0])], window)
        else:
            for name in _NAMES:
                window = window.replace(name, _UNKNOWN_NAME)
        return window[before:]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._reader.seekable()
