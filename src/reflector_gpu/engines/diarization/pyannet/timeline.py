"""From windows to turns: who speaks when in a whole recording.

The number of people who speak in a frame is the rounded mean over the windows around it, and they
are those whom most of these windows hear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.pyannet.networks import (
    FIELD,
    FRAMES,
    SHIFT,
    SPEAKERS,
    STEP,
    Heard,
)
from reflector_gpu.types import SAMPLE_RATE, SpeakerTurn

Person = npt.NDArray[np.int32]
"""The person who is a speaker of a window ``[windows, SPEAKERS]``, or `NOBODY`."""

NOBODY = -1

_SURE, _UNSURE = 0.65, 0.5
"""Of the mean probability that anybody speaks: windows that disagree are not believed."""

_PAUSE = 0.4
"""Seconds; shorter pauses of a speaker are part of the turn: they are those between phrases."""

_LEAD = 0.05
"""Seconds by which a turn is begun early. Some clients, such as Reflector, look for the last turn
that begins before a word, and would miss a turn that begins a little after its first word."""

_BLOCK = 10_000  # frames that are joined at once: about three minutes


class Windows:
    """What was heard of all windows so far, about 1 MB an hour."""

    def __init__(self) -> None:
        self._anybody: list[npt.NDArray[np.uint8]] = []
        self._active: list[npt.NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self._active)

    def append(self, heard: Heard) -> None:
        self._anybody.extend(heard.anybody)
        self._active.extend(heard.active)

    def since(self, window: int) -> Windows:
        """Those from ``window`` on; it becomes the first."""
        found = Windows()
        found._anybody = self._anybody[window:]
        found._active = self._active[window:]
        return found

    @property
    def frames(self) -> int:
        return (len(self) - 1) * STEP + FRAMES if len(self) else 0

    def active(self, window: int) -> npt.NDArray[np.bool_]:
        bits = np.unpackbits(self._active[window], count=FRAMES * SPEAKERS)
        return bits.reshape(FRAMES, SPEAKERS).astype(bool)

    def anybody(self, window: int) -> npt.NDArray[np.uint8]:
        """``uint8[FRAMES]``: the largest probability of a speaker."""
        return self._anybody[window]


def unknown(windows: int) -> Person:
    """Nobody is any speaker of so many windows yet."""
    return np.full((windows, SPEAKERS), NOBODY, np.int32)


def turns_of(
    windows: Windows, person: Person, people: int, seconds: float, together: int | None = None
) -> list[SpeakerTurn]:
    """The turns of ``people`` in a recording of ``seconds``; ``together`` speak at once at most.

    Speakers have the numbers that people have in ``person``.
    """
    spoken: list[list[tuple[float, float]]] = [[] for _ in range(people)]
    for first, last, who in _runs(_speaking(windows, person, people, together), people):
        start = 0.0 if first == 0 else _seconds(first)
        end = min(_seconds(last), seconds)
        own = spoken[who]
        if own and start - own[-1][1] < _PAUSE:
            own[-1] = own[-1][0], max(end, own[-1][1])
        elif start < end:
            own.append((start, end))
    found = sorted((start, end, who) for who, own in enumerate(spoken) for start, end in own)
    if together == 1:
        found = list(_apart(found))
    return [SpeakerTurn(*one) for one in _earlier(found)]


def _earlier(
    found: Iterable[tuple[float, float, int]],
) -> Iterator[tuple[float, float, int]]:
    """The same turns, begun `_LEAD` early where nobody else speaks at that time."""
    until = 0.0
    for start, end, who in found:
        yield (max(start - _LEAD, until) if until < start else start), end, who
        until = max(until, end)


def _apart(found: Iterable[tuple[float, float, int]]) -> Iterator[tuple[float, float, int]]:
    """Turns that do not overlap, where somebody was heard in the pause of somebody else's."""
    until = 0.0
    for start, end, who in found:
        if end > until:
            yield max(start, until), end, who
            until = end


def _seconds(frame: int) -> float:
    """The time between ``frame`` and the one before it."""
    return (FIELD / 2 + (frame - 0.5) * SHIFT) / SAMPLE_RATE


def _runs(blocks: Iterable[npt.NDArray[np.bool_]], people: int) -> Iterator[tuple[int, int, int]]:
    """(first, last + 1, person) of all that somebody says without a pause."""
    before = np.zeros((1, people), bool)
    began: dict[int, int] = {}
    frame = 0
    for block in blocks:
        changes = np.diff(np.concatenate([before, block]).astype(np.int8), axis=0)
        for row, who in zip(*np.nonzero(changes), strict=True):
            if changes[row, who] > 0:
                began[int(who)] = frame + int(row)
            else:
                yield began.pop(int(who)), frame + int(row), int(who)
        frame += len(block)
        before = block[-1:]
    for who, begin in began.items():
        yield begin, frame, who


def _speaking(
    windows: Windows, person: Person, people: int, together: int | None
) -> Iterator[npt.NDArray[np.bool_]]:
    """``bool[frames, people]``, block by block."""
    speaks = False
    for first in range(0, windows.frames, _BLOCK):
        last = min(first + _BLOCK, windows.frames)
        votes = np.zeros((last - first, people), np.uint16)
        heard, covered, sure = (np.zeros(last - first, np.float32) for _ in range(3))
        earliest = max(0, -(-(first - FRAMES + 1) // STEP))
        for window in range(earliest, min(len(windows), -(-last // STEP))):
            begin, end = max(first, window * STEP), min(last, window * STEP + FRAMES)
            own = slice(begin - window * STEP, end - window * STEP)
            rows = slice(begin - first, end - first)
            active = windows.active(window)[own]
            covered[rows] += 1
            heard[rows] += active.sum(axis=1)
            sure[rows] += windows.anybody(window)[own]
            whose = person[window]
            for who in set(whose.tolist()) - {NOBODY}:
                votes[rows, who] += active[:, whose == who].any(axis=1)
        believed, speaks = _believed(sure / (255 * covered), begins=not speaks)
        count = np.where(believed, np.rint(heard / covered), 0)
        yield _most_votes(votes, np.minimum(count, together or people))


def _believed(sure: npt.NDArray[np.float32], *, begins: bool) -> tuple[npt.NDArray[np.bool_], bool]:
    """Where windows agree enough that anybody speaks, and whether they do at the end."""
    found = np.zeros(len(sure), bool)
    on = not begins
    for frame, value in enumerate(sure.tolist()):
        on = value > (_UNSURE if on else _SURE)
        found[frame] = on
    return found, on


def _most_votes(
    votes: npt.NDArray[np.uint16], count: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """The ``count[f]`` people of each frame who have the most votes, if they have any."""
    order = np.argsort(-votes.astype(np.int32), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(votes.shape[1])[None], axis=1)
    found: npt.NDArray[np.bool_] = (rank < count[:, None]) & (votes > 0)
    return found
