"""The features of a recording in an unnamed file, so that memory does not grow with its length."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import numpy as np

from reflector_gpu.engines.diarization.bic.cepstra import COLUMNS, Frames
from reflector_gpu.errors import StorageFull

BLOCK = 10
"""Frames that have one speaker together: 0.1 s. Rows come in whole blocks."""

BATCH = 600 * BLOCK
"""Frames that are read at once: a minute."""

_SAMPLE = 60_000  # frames from which statistics of the whole recording are estimated
_ROW_BYTES = COLUMNS * 4


class FrameStore:
    """Rows that are appended once, and can then be read in order any number of times."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed by `close`
        self._count = 0

    @property
    def blocks(self) -> int:
        return self._count // BLOCK

    def close(self) -> None:
        self._file.close()

    def append(self, rows: Frames) -> None:
        """Add ``rows`` at the end.

        Raises:
            StorageFull: the disk is full.
        """
        data = np.ascontiguousarray(rows, np.float32).data.cast("B")
        self._count += len(rows)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise StorageFull("The server's temporary storage is full; try again later.") from error

    def batches(self, first: int = 0, last: int | None = None) -> Iterator[tuple[slice, Frames]]:
        """The blocks from ``first`` to before ``last`` in pieces, each as a slice and its rows."""
        last = self.blocks if last is None else last
        for begin in range(first, last, BATCH // BLOCK):
            blocks = slice(begin, min(begin + BATCH // BLOCK, last))
            yield blocks, self._read(blocks.start * BLOCK, blocks.stop * BLOCK)

    def sample(self) -> Frames:
        """Rows at equal distances: all of a short recording, some of a long one."""
        step = -(-self._count // _SAMPLE)
        return np.concatenate(
            [rows[-blocks.start * BLOCK % step :: step] for blocks, rows in self.batches()]
        )

    def _read(self, first: int, last: int) -> Frames:
        size = (last - first) * _ROW_BYTES
        data = os.pread(self._file.fileno(), size, first * _ROW_BYTES)
        return np.frombuffer(data, np.float32).reshape(-1, COLUMNS)
