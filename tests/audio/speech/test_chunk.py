"""Chunks: what holds for any recording, whatever the detector says and however it is cut up."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.audio.chunk import MIN_CHUNK_SECONDS, Chunker, chunker, chunks
from reflector_gpu.audio.decode import BLOCK_SAMPLES
from reflector_gpu.audio.vad import WINDOW, WINDOW_SECONDS, VadOptions
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


@any_case
@given(CASES | SLOW)
def test_chunks_are_in_order_and_do_not_overlap(case: Case) -> None:
    check_order(case.chunks())


@any_case
@given(CASES | SLOW)
def test_chunks_are_as_long_as_an_engine_can_take(case: Case) -> None:
    for chunk in case.chunks():
        assert SHORTEST <= len(chunk.samples) <= case.max_seconds * SAMPLE_RATE
        assert chunk.samples.dtype == np.float32


@any_case
@given(CASES | SLOW)
def test_chunks_hold_the_recording_as_it_is(case: Case) -> None:
    recording = case.samples
    for chunk in case.chunks():
        first = round(chunk.start * SAMPLE_RATE)
        there = recording[first : first + len(chunk.samples)]
        assert (chunk.samples[: len(there)] == there).all()
        assert not chunk.samples[len(there) :].any()  # past the end of the recording


@any_case
@given(CASES | SLOW)
def test_whatever_is_said_lies_in_a_chunk(case: Case) -> None:
    check_coverage(case, case.chunks())


@any_case
@given(CASES | SLOW)
def test_long_silence_is_left_out(case: Case) -> None:
    longest = max(case.max_gap / WINDOW_SECONDS, SHORTEST / WINDOW) + 1
    for chunk in case.chunks():
        inside = [case.voiced[w] for w in windows(chunk) if w < len(case.voiced)]
        spoken = runs(inside)
        assert sum(inside) > CLICK
        assert all(after.start - before.stop < longest for before, after in pairwise(spoken))
        lead = case.padding * (5 if windows(chunk).start == 0 else 1)
        assert spoken[0].start <= lead / WINDOW_SECONDS
        assert len(inside) - spoken[-1].stop <= max(case.padding / WINDOW_SECONDS, longest)


@any_case
@given(CASES, st.lists(st.integers(0, 3_000), min_size=1, max_size=30))
def test_any_blocks_give_the_same(case: Case, sizes: list[int]) -> None:
    rest, blocks = case.samples, []
    for size in sizes:
        blocks.append(rest[:size])
        rest = rest[size:]
    expected = case.chunks()
    found = case.chunks([*blocks, rest])
    assert [chunk.start for chunk in found] == [chunk.start for chunk in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.samples == other.samples).all()


@any_case
@given(CASES, st.data())
def test_where_one_has_stopped_another_goes_on(case: Case, data: st.DataObject) -> None:
    expected = case.chunks()
    count = data.draw(st.integers(0, len(expected)))
    end = expected[count - 1].end if count else 0.0
    later = replace(case.schedule, early_seconds=case.schedule.early_seconds[count:])
    found = replace(case, schedule=later, begin=end).chunks()
    for one, other in zip(found, expected[count:], strict=True):
        assert (one.start, one.voiced) == (other.start, other.voiced)
        assert (one.samples == other.samples).all()


@any_case
@given(SLOW, st.data(), st.floats(0.0, 3.0))
def test_whenever_it_arrives_nothing_is_lost_or_repeated_after_a_stop(
    case: Case, data: st.DataObject, later: float
) -> None:
    before = case.chunks()
    del before[data.draw(st.integers(0, len(before))) :]
    begin = before[-1].end if before else 0.0
    found = before + replace(case, begin=begin, pace=later).chunks()
    check_order(found)
    check_coverage(case, found)


@any_case
@given(SLOW)
def test_what_arrives_fast_is_cut_as_if_it_were_there(case: Case) -> None:
    seconds = len(case.script) * WINDOW_SECONDS
    fast = replace(case, pace=case.schedule.patience / (seconds + 1))
    assert [c.start for c in fast.chunks()] == [c.start for c in replace(case, pace=0).chunks()]


@any_case
@given(CASES)
def test_the_first_chunks_of_a_stream_are_short_and_grow(case: Case) -> None:
    early = [seconds for seconds in case.schedule.early_seconds if 2 * seconds <= case.max_seconds]
    shortest = MIN_CHUNK_SECONDS + WINDOW_SECONDS
    bounds = [2 * max(seconds, shortest) for seconds in early]
    for chunk, bound in zip(case.chunks(), bounds, strict=False):
        assert chunk.duration <= bound


@any_case
@given(CASES)
def test_a_stream_has_the_words_of_a_plain_answer(case: Case) -> None:
    """Whatever is said lies in the chunks of either, so that neither hears more of it."""
    heard = {window for chunk in case.chunks() for window in windows(chunk)}
    plain = {w for chunk in replace(case, schedule=PLAIN).chunks() for w in windows(chunk)}
    said = {window for run in runs(case.voiced) if len(run) > CLICK for window in run}
    assert heard & said == plain & said == said


@pytest.mark.parametrize(
    ("silence", "padding", "start"), [(40, 0.3, 0), (50, 0.3, 41), (12, 0.1, 0), (40, 0.0, 40)]
)
def test_what_is_before_the_first_words_is_kept_while_the_detector_is_unsure(
    silence: int, padding: float, start: int
) -> None:
    case = Case(talk((0.2, silence), (1, 60)), max_seconds=30, padding=padding)
    (chunk,) = case.chunks()
    assert windows(chunk) == range(start, silence + 60)
    ((begin, end),) = chunk.voiced
    assert begin == pytest.approx((silence - start) * WINDOW_SECONDS)
    assert end == pytest.approx((silence + 60 - start) * WINDOW_SECONDS)


def test_early_chunks_end_at_the_first_pause_and_double() -> None:
    """30 windows of voice and 10 of pause, over and over; 2, 4 and 8 s are 62, 125 and 250."""
    script = talk(*[(1.0, 30), (0.0, 10)] * 30)
    case = Case(script, max_seconds=30, schedule=Schedule((2.0, 4.0, 8.0)))
    found = [windows(chunk) for chunk in case.chunks()]
    assert [len(chunk) for chunk in found] == [74, 121, 279, 725]
    assert all(chunk.stop % 40 in range(31, 40) for chunk in found)  # in a pause


def test_an_early_chunk_is_not_made_up_while_there_is_more() -> None:
    case = Case(talk((1.0, 3), (0.0, 13)), padding=0, schedule=Schedule((0.5,)))
    (chunk,) = case.chunks()
    assert chunk.samples.all()


def test_an_early_chunk_without_a_pause_ends_at_twice_its_length() -> None:
    case = Case(talk((1.0, 900)), max_seconds=30, schedule=Schedule((2.0,)), padding=0)
    first, second = (windows(chunk) for chunk in case.chunks())
    assert 62 < first.stop == second.start <= 124


@pytest.mark.parametrize("pause", [0, 5])
@pytest.mark.parametrize("longest", [10.0, 30.0])
def test_a_stream_is_never_behind_by_more_than_a_chunk(longest: float, pause: int) -> None:
    """Whatever has been read but for the last chunk is on its way, as long as somebody speaks."""
    script = talk(*[(1.0, 300), (0.0, pause)] * 12)
    schedule = Schedule((3.0,), whole_seconds=45.0, earliest_cut=0.75)
    cutter = chunker(
        Script(script), max_seconds=longest, max_gap=30, options=VadOptions(), schedule=schedule
    )
    held_back = BLOCK_SAMPLES / SAMPLE_RATE + 2 * WINDOW_SECONDS
    position = 0.0
    blocks = np.split(np.ones(len(script) * WINDOW, np.float32), len(script))
    for number, block in enumerate(blocks, 1):
        position = max([position, *(chunk.end for chunk in cutter.push(block))])
        assert number * WINDOW_SECONDS - position <= longest + held_back
    assert position > 60


@pytest.mark.parametrize("pause", [0, 5, 9])
@pytest.mark.parametrize("burst", [0.0, 20.0])
@pytest.mark.parametrize("early", [(3.0,), (3.0, 6.0, 12.0)])
def test_a_stream_that_arrives_as_it_is_spoken_is_at_most_ten_seconds_behind(
    early: tuple[float, ...], burst: float, pause: int
) -> None:
    """Even after a ``burst``, as radio stations send one, once the rest was waited for a while."""
    script = talk(*[(1.0, 300), (0.0, pause)] * 12)
    schedule = Schedule(early, earliest_cut=0.75, patience=5.0)
    cutter = chunker(
        Script(script), max_seconds=30.0, max_gap=30, options=VadOptions(), schedule=schedule
    )
    held_back = 2 * BLOCK_SAMPLES / SAMPLE_RATE  # time is looked at block by block, too
    position = 0.0
    blocks = np.split(np.ones(len(script) * WINDOW, np.float32), len(script))
    for number, block in enumerate(blocks, 1):
        seconds = number * WINDOW_SECONDS
        waited = max(0.0, seconds - burst)
        position = max([position, *(chunk.end for chunk in cutter.push(block, waited))])
        if seconds > burst + 5.0 + held_back or not burst:
            assert seconds - position <= 10.0 + held_back
    assert position > 100


@pytest.mark.parametrize(("share", "stop"), [(0.5, 75), (0.75, 103)])
def test_a_schedule_may_fill_chunks_better_than_the_longest_pause_would(
    share: float, stop: int
) -> None:
    script = talk((1, 70), (0, 10), (1, 20), (0, 6), (1, 200))
    case = Case(script, max_seconds=4.0, schedule=Schedule(earliest_cut=share))
    assert windows(case.chunks()[0]).stop == stop


def test_plain_chunks_are_not_scheduled(speech: Samples) -> None:
    """What they have been since before there were schedules."""
    found = list(chunks([speech], max_seconds=10, max_gap=1.5))
    starts = [round(chunk.start, 3) for chunk in found]
    assert starts == [0.0, 6.272, 14.848, 23.168, 29.44, 37.952, 45.92, 55.744, 63.008]


def test_window_by_window_gives_the_same() -> None:
    case = Case(talk((0, 40), (1, 90), (0, 8), (1, 200), (0, 60), (1, 20)), missing=100)
    every = np.array_split(case.samples, len(case.script))
    assert [c.start for c in case.chunks(every)] == [c.start for c in case.chunks()]


@pytest.mark.parametrize(
    "script",
    [
        (),
        talk((0, 1)),
        talk((0, 300)),
        talk((0.49, 300)),
        talk((0, 50), (1, CLICK), (0, 100), (1, 1), (0, 100)),
        talk((1, CLICK)),
    ],
    ids=["nothing", "a window", "silence", "doubt", "clicks", "a click at the end"],
)
def test_no_speech_no_chunks(script: tuple[float, ...]) -> None:
    assert Case(script).chunks() == []


def test_padding_is_kept_on_either_side() -> None:
    (chunk,) = Case(talk((0, 100), (1, 50), (0, 100)), padding=0.32).chunks()
    assert windows(chunk) == range(90, 160)


def test_speech_ends_only_well_below_the_threshold() -> None:
    (chunk,) = Case(talk((0, 10), (0.5, 10), (0.36, 40), (0.34, 60)), padding=0).chunks()
    assert windows(chunk) == range(10, 60)


def test_the_threshold_is_an_option() -> None:
    for threshold, count in ((0.3, 1), (0.8, 0)):
        chunker = Chunker(Script(talk((0.6, 40))), max_seconds=10, max_gap=1, threshold=threshold)
        found = [*chunker.push(np.zeros(40 * WINDOW, np.float32)), *chunker.finish()]
        assert len(found) == count


def test_pauses_inside_a_chunk_are_kept_and_long_ones_end_it() -> None:
    script = talk((1, 20), (0, 20), (1, 20), (0, 60), (1, 20))
    found = Case(script, max_seconds=30, max_gap=1.0, padding=0.1).chunks()
    assert [windows(chunk) for chunk in found] == [range(63), range(117, 140)]


@pytest.mark.parametrize("at", [70, 90, 110])
def test_long_speech_is_cut_in_the_middle_of_a_pause(at: int) -> None:
    """125 windows fit; the pause lies in the later half of them."""
    first, second, *_ = Case(talk((1, at), (0, 10), (1, 200)), max_seconds=4.0).chunks()
    assert windows(first).stop == windows(second).start == at + 5


def test_a_pause_that_is_too_short_for_two_paddings_is_shared() -> None:
    case = Case(talk((1, 110), (0, 16), (1, 100)), max_seconds=4.0, padding=0.32)
    first, second = (windows(chunk) for chunk in case.chunks())
    assert first.stop == second.start == 118


def test_of_several_pauses_the_longest_is_cut() -> None:
    case = Case(talk((1, 70), (0, 12), (1, 20), (0, 4), (1, 200)), max_seconds=4.0, padding=0)
    assert windows(case.chunks()[0]).stop == 76


@pytest.mark.parametrize("at", [70, 90, 110])
def test_speech_without_a_pause_is_cut_where_it_is_quiet(at: int) -> None:
    case = Case(talk((1, 200)), max_seconds=4.0, padding=0)
    recording = case.samples
    recording[(at - 2) * WINDOW : (at + 2) * WINDOW] *= 0.01
    first, second, *_ = case.chunks([recording])
    assert windows(first).stop == windows(second).start
    assert abs(windows(first).stop - at) <= 1


@pytest.mark.parametrize("spoken", [3, 10, 15])
def test_a_short_word_takes_some_silence_along(spoken: int) -> None:
    case = Case(talk((0, 50), (1, spoken), (0, 100)), padding=0)
    (chunk,) = case.chunks()
    assert windows(chunk).start == 50
    assert len(chunk.samples) == 16 * WINDOW
    assert chunk.samples.all()  # the recording's own, not made up


@pytest.mark.parametrize("missing", [0, 100])
def test_a_short_recording_is_padded(missing: int) -> None:
    case = Case(talk((1, 6)), missing=missing)
    (chunk,) = case.chunks()
    assert len(chunk.samples) == SHORTEST
    assert (chunk.samples != 0).sum() == 6 * WINDOW - missing


def test_a_longer_recording_ends_where_it_ends() -> None:
    (chunk,) = Case(talk((1, 40)), missing=100).chunks()
    assert len(chunk.samples) == 40 * WINDOW - 100


@pytest.mark.parametrize(("seconds", "count"), [(4.0, 1), (3.99, 1), (4.032, 2)])
def test_what_is_as_long_as_the_engine_takes_is_one_chunk(seconds: float, count: int) -> None:
    """Though it is no whole number of windows."""
    length = round(seconds * SAMPLE_RATE)
    script = talk((1, -(-length // WINDOW)))
    case = Case(script, missing=len(script) * WINDOW - length, max_seconds=4.0)
    for size in (700, 16_384, length):
        blocks = np.split(case.samples, range(size, length, size))
        found = case.chunks(blocks)
        assert len(found) == count
        assert sum(len(chunk.samples) for chunk in found) == length


@pytest.mark.parametrize("length", [126, 127, 128])
@pytest.mark.parametrize("quiet", [range(60, 66), range(122, 128)], ids=["early", "late"])
def test_a_cut_inside_speech_loses_nothing_of_it(quiet: range, length: int) -> None:
    """Where the voice ends just behind the cut, or began just before the later half."""
    for lead, padding in ((0, 0.0), (100, 1.96)):
        case = Case(talk((0, lead), (1, length), (0, 200)), max_seconds=4.0, padding=padding)
        recording = case.samples
        begin = max(0, lead - int(padding / WINDOW_SECONDS))
        recording[(begin + quiet.start) * WINDOW : (begin + quiet.stop) * WINDOW] *= 0.01
        covered = {window for chunk in case.chunks([recording]) for window in windows(chunk)}
        assert covered.issuperset(range(lead, lead + length))


def test_words_right_after_each_other_make_chunks_that_do_not_overlap() -> None:
    """A client may ask for no padding and hardly any silence between two chunks."""
    case = Case(talk(*[(1.0, 4), (0.0, 4)] * 20), max_gap=0.1, padding=0)
    found = case.chunks()
    assert len(found) > 5
    for one, following in pairwise(found):
        assert one.end <= following.start


def test_memory_does_not_grow_with_the_recording() -> None:
    minute = np.random.default_rng(0).uniform(-1, 1, 60 * SAMPLE_RATE).astype(np.float32)
    blocks = np.array_split(minute, 60)
    script = talk((1, 900), (0, 900)) * 13
    chunker = Chunker(Script(script), max_seconds=20, max_gap=1)
    tracemalloc.start()
    try:
        count = sum(1 for _ in range(12) for block in blocks for _ in chunker.push(block))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count > 12
    assert peak < 20 * minute.nbytes / 60 * 4  # a few chunks of twenty seconds


def test_a_whole_meeting(speech: Samples, reference: list[tuple[float, float]]) -> None:
    blocks = np.array_split(speech, 50)
    found = list(chunks(blocks, max_seconds=10, max_gap=1.5))
    for start, end in reference:
        middle = (start + end) / 2
        holding = [c for c in found if c.start <= middle < c.end]
        assert len(holding) == 1
        # A cut may take the very edge of a word, where it fades.
        assert holding[0].start <= start + 0.1
        assert holding[0].end >= end - 0.1


def test_the_clients_silence_replaces_the_engines_gap(speech: Samples) -> None:
    few = list(chunks([speech], max_seconds=30, max_gap=2))
    many = list(chunks([speech], max_seconds=30, max_gap=2, options=VadOptions(silence=0.2)))
    assert len(many) > 2 * len(few)
