"""The features of a whole recording in an unnamed file: memory does not grow with the hours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from reflector_gpu.engines.diarization.bic.cepstra import COLUMNS, Frames
from reflector_gpu.errors import StorageFull

BLOCK = 10
"""Frames that always have one speaker: 0.1 s. Rows come in whole blocks."""

BATCH = 600 * BLOCK
"""Frames that are looked at together: a minute."""

_SAMPLE = 60_000  # frames that stand for all where a statistic of the whole recording is wanted
_ROW_BYTES = COLUMNS * 4


class FrameStore:
    """Rows that are appended once and then read in order, as often as wanted."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed by __exit__
        self._count = 0

    @property
    def blocks(self) -> int:
        return self._count // BLOCK

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, rows: Frames) -> None:
        """Add ``rows`` behind those that are there.

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
        """The rows of the blocks ``first`` to before ``last``, in order, with those blocks."""
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
