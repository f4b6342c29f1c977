"""Recordings of which a script says where somebody speaks, and how they are cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from reflector_gpu.audio.chunk import MIN_CHUNK_SECONDS, Chunker
from reflector_gpu.audio.vad import WINDOW, WINDOW_SECONDS
from reflector_gpu.types import PLAIN, SAMPLE_RATE, Chunk, Samples, Schedule

CLICK = 2  # windows; less than an utterance

SHORTEST = int(MIN_CHUNK_SECONDS * SAMPLE_RATE)


class Script:
    """A detector that says what it was told to."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self._probabilities = np.array(probabilities, np.float32)
        self._position = 0

    def __call__(self, samples: Samples) -> Samples:
        count, rest = divmod(len(samples), WINDOW)
        assert rest == 0
        self._position += count
        return self._probabilities[self._position - count : self._position]


@dataclass(frozen=True)
class Case:
    """A recording, what the detector says about each window, and how to cut it."""

    script: tuple[float, ...]
    missing: int = 0
    """Samples by which the recording ends before its last window."""
    max_seconds: float = 4.0
    max_gap: float = 1.0
    padding: float = 0.3
    schedule: Schedule = PLAIN
    begin: float = 0.0
    pace: float = 0.0
    """Seconds in which a second of the recording arrives."""

    @property
    def samples(self) -> Samples:
        length = max(0, len(self.script) * WINDOW - self.missing)
        return np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)

    @property
    def voiced(self) -> list[bool]:
        active, found = False, []
        for probability in self.script:
            active = probability >= 0.5 or (active and probability >= 0.35)
            found.append(active)
        return found

    def chunks(self, blocks: Iterable[Samples] | None = None) -> list[Chunk]:
        chunker = Chunker(
            Script(self.script),
            max_seconds=self.max_seconds,
            max_gap=self.max_gap,
            padding=self.padding,
            schedule=self.schedule,
            begin=self.begin,
        )
        found, seconds = list[Chunk](), 0.0
        length = len(self.samples)
        whole = range(SHORTEST if self.pace else length, length, SHORTEST)
        for block in blocks or np.split(self.samples, whole):
            seconds += len(block) / SAMPLE_RATE
            found += chunker.push(block, seconds * self.pace)
        return [*found, *chunker.finish()]


def talk(*spans: tuple[float, int]) -> tuple[float, ...]:
    """A script of (probability, windows)."""
    return tuple(p for p, count in spans for _ in range(count))


def runs(voiced: Sequence[bool]) -> list[range]:
    """The stretches of voiced windows."""
    edges = np.flatnonzero(np.diff([False, *voiced, False]))
    return [range(first, last) for first, last in edges.reshape(-1, 2)]


def windows(chunk: Chunk) -> range:
    first = round(chunk.start / WINDOW_SECONDS)
    return range(first, first + -(-len(chunk.samples) // WINDOW))


DOUBLING = Schedule((0.5, 1.0, 2.0, 4.0))

WINDOWED = Schedule((1.0,), earliest_cut=0.75)

SPANS = st.tuples(st.sampled_from([0.0, 0.0, 0.34, 0.4, 0.6, 1.0, 1.0]), st.integers(1, 70))


CASES = st.builds(
    Case,
    script=st.lists(SPANS, max_size=16).map(lambda spans: talk(*spans)),
    missing=st.integers(0, WINDOW - 1),
    max_seconds=st.sampled_from([1.0, 1.5, 3.0, 30.0]) | st.floats(1.0, 6.0),
    max_gap=st.sampled_from([0.0, 0.1, 0.5, 1.5]) | st.floats(0.0, 3.0),
    padding=st.sampled_from([0.0, 0.1, 0.3]) | st.floats(0.0, 5.0),
    schedule=st.sampled_from([PLAIN, DOUBLING, WINDOWED]),
)


SLOW = st.builds(
    lambda case, pace, patience: replace(
        case, pace=pace, schedule=replace(case.schedule, patience=patience)
    ),
    CASES,
    pace=st.floats(0.1, 3.0),
    patience=st.floats(0.3, 3.0),
)

any_case = settings(max_examples=60)


def check_order(found: Sequence[Chunk]) -> None:
    for one, following in pairwise(found):
        assert one.end <= following.start + 1e-9


def check_coverage(case: Case, found: Sequence[Chunk]) -> None:
    """Whatever is said in ``case`` lies in a chunk."""
    covered = {window for chunk in found for window in windows(chunk)}
    for run in runs(case.voiced):
        if len(run) > CLICK:
            assert covered.issuperset(run)
