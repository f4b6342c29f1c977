"""Channel layouts in an order of their own, hidden from the decoder.

QuickTime, AIFF and CAF may tell which channel is which (``chan``, by a tag or one by one), MP4 too
(``chnl``). Where that is none of FFmpeg's usual orders the layout lies on the heap, and PyAV from
17.1 on (its pull request 2284) frees it once for each copy: a surround recording from a Mac ends
the process. PyAV before 18.1 falls over damaged AVI instead. Without the layout FFmpeg takes the
usual order of so many channels, which for a sum of them makes little difference.
"""

from __future__ import annotations

import os
import re

from reflector_gpu.audio.spool import SpoolReader

_NAMES = (b"chan", b"chnl", b"CHAN")
_UNKNOWN_NAME = b"free"
# A renamed chunk of CAF could not be skipped while it arrives; what it says is made unknown there.
_CAF_TAG = re.compile(rb"(?<=chan.{8}).{1,4}", re.DOTALL)
_UNKNOWN_TAG = b"\xff\xff\0\0"
_AROUND = 15  # bytes before, in which any of them may begin


class WithoutLayouts:
    """What PyAV reads from: the same bytes, but that layouts are unknown ones."""

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
