"""Joins overlapping windows, each with its own speakers, to the turns of a whole recording.

It follows pyannote.audio's `SpeakerDiarizationMixin`. The number of people who speak in a frame is
the rounded mean over the windows around it. They are those that most of these windows hear, so
turns of different people may overlap. The tuned least durations of a turn and of a pause are 0
there, so turns and pauses stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.segmentation.networks import Activity
from reflector_gpu.engines.diarization.segmentation.pairing import NOBODY
from reflector_gpu.types import SAMPLE_RATE, SpeakerTurn

_BLOCK = 10_000  # frames that are joined at once: about three minutes


@dataclass(frozen=True, slots=True)
class Grid:
    """The frames of a whole recording, and the windows over them.

    The middle of frame ``n`` is at sample ``middle`` + ``shift`` * ``n``. A window has ``frames``,
    and begins ``step`` samples after the one before.
    """

    middle: int
    shift: int
    frames: int
    step: int

    def first(self, window: int) -> int:
        """The frame with which ``window`` begins, or the one that is closest to it."""
        return round(window * self.step / self.shift)

    def boundary(self, frame: int) -> float:
        """The time in seconds between ``frame`` and the one before it."""
        return (self.middle + (frame - 0.5) * self.shift) / SAMPLE_RATE


class Windows:
    """Which speakers are active in each window: a bit for each frame and speaker."""

    def __init__(self, grid: Grid, speakers: int) -> None:
        self.grid = grid
        self._speakers = speakers
        self._bits: list[npt.NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self._bits)

    def append(self, active: Activity) -> None:
        self._bits.append(np.packbits(active))

    def __getitem__(self, index: int) -> Activity:
        count = self.grid.frames * self._speakers
        bits = np.unpackbits(self._bits[index], count=count)
        return bits.reshape(-1, self._speakers).astype(bool)


def turns(
    windows: Windows, people: npt.NDArray[np.intp], seconds: float, most: int | None = None
) -> list[SpeakerTurn]:
    """The turns in a recording of ``seconds``.

    ``people[w, s]`` is the person who is speaker ``s`` of window ``w``. Up to ``most`` people speak
    at once. They are numbered as they first speak.
    """
    began: dict[int, int] = {}
    found: list[tuple[int, int, int]] = []
    total = 0
    for first, speaking in _frames(windows, people, most):
        changes = np.diff(speaking, axis=0)
        for row, person in zip(*np.nonzero(changes), strict=True):
            if changes[row, person] > 0:
                began[int(person)] = first + int(row)
            else:
                found.append((began.pop(int(person)), first + int(row), int(person)))
        total = first + len(changes)
    found += [(begin, total, person) for person, begin in began.items()]
    grid = windows.grid
    names: dict[int, int] = {}
    told = []
    for begin, end, person in sorted(found):
        start = 0.0 if begin == 0 else grid.boundary(begin)
        stop = min(grid.boundary(end), seconds)
        if start < stop:
            told.append(SpeakerTurn(start, stop, names.setdefault(person, len(names))))
    return told


def _frames(
    windows: Windows, people: npt.NDArray[np.intp], most: int | None
) -> Iterator[tuple[int, npt.NDArray[np.int8]]]:
    """Blocks of frames, each as the number of its first one and ``int8[1 + frames, people]``.

    That is 1 for those who speak in the frame before the block and in those of the block.
    """
    grid, persons = windows.grid, max(1, int(people.max()) + 1)
    total = grid.first(len(windows) - 1) + grid.frames
    before = np.zeros((1, persons), np.int8)
    for first in range(0, total, _BLOCK):
        last = min(first + _BLOCK, total)
        votes = np.zeros((last - first, persons), np.uint16)
        heard, covered = np.zeros(last - first), np.zeros(last - first)
        for w in range(*_around(grid, first, last, len(windows))):
            own = grid.first(w)
            begin, end = max(first, own), min(last, own + grid.frames)
            active = windows[w][begin - own : end - own]
            rows = slice(begin - first, end - first)
            covered[rows] += 1
            heard[rows] += active.sum(axis=1)
            for person in np.unique(people[w][people[w] != NOBODY]):
                votes[rows, person] += active[:, people[w] == person].any(axis=1)
        count = np.rint(heard / np.maximum(covered, 1))
        speaking = _loudest(votes, np.minimum(count, most or persons))
        yield first, np.concatenate([before, speaking])
        before = speaking[-1:]


def _around(grid: Grid, first: int, last: int, count: int) -> tuple[int, int]:
    """The first of ``count`` windows with any of the frames from ``first`` to before ``last``, and
    the first one after those."""
    frames = grid.step / grid.shift
    earliest = max(0, int((first - grid.frames) / frames))
    while grid.first(earliest) + grid.frames <= first:
        earliest += 1
    latest = min(count, int(last / frames) + 2)
    while latest > earliest and grid.first(latest - 1) >= last:
        latest -= 1
    return earliest, latest


def _loudest(votes: npt.NDArray[np.uint16], count: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    """1 for the ``count[f]`` people of each frame who have the most votes, if they have any."""
    order = np.argsort(-votes.astype(np.int32), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(votes.shape[1])[None], axis=1)
    speaking: npt.NDArray[np.int8] = ((rank < count[:, None]) & (votes > 0)).astype(np.int8)
    return speaking
