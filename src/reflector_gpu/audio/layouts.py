"""Channel layouts in an order of their own, hidden from the decoder.

QuickTime, CAF and AIFF may tell which channel is which (``chan``, by a tag or one by one), MP4 too
(``chnl``). Where that is none of FFmpeg's usual orders the layout lies on the heap, and PyAV from
17.1 on frees every copy of it: a surround recording from a Mac ends the process. Without it FFmpeg
takes the usual order of so many channels, which for a sum of them makes little difference.
"""

from __future__ import annotations

import os
import re

from reflector_gpu.audio.spool import SpoolReader

# Each finds a tag, or what is there of it, behind a name and 4 bytes of a box (ISO 14496-12), or
# behind the name and size of a chunk; or the name of a box, which begins with its size.
_IN_BOXES = re.compile(rb"(?<=\0\0..chan\0{4}).{1,4}|(?<=\0\0..)chnl", re.DOTALL)
_IN_CHUNKS = {
    b"caff": re.compile(rb"(?<=chan.{8}).{1,4}", re.DOTALL),
    b"FORM": re.compile(rb"(?<=CHAN.{4}).{1,4}", re.DOTALL),
}
_AROUND = 15  # bytes before, in which one may begin
_UNKNOWN_TAG, _UNKNOWN_NAME = b"\xff\xff\0\0", b"free"


class WithoutLayouts:
    """What PyAV reads from: the same bytes, but that layouts are unknown ones."""

    def __init__(self, reader: SpoolReader) -> None:
        self._reader = reader
        self._layout = _IN_CHUNKS.get(reader.peek(0, 4), _IN_BOXES)

    def read(self, count: int) -> bytes:
        begin = self._reader.tell()
        data = self._reader.read(count)
        if not data:
            return data
        before = min(begin, _AROUND)
        return self._layout.sub(_hidden, self._reader.peek(begin - before, before) + data)[before:]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._reader.seekable()


def _hidden(found: re.Match[bytes]) -> bytes:
    return _UNKNOWN_NAME if found[0] == b"chnl" else _UNKNOWN_TAG[: len(found[0])]
