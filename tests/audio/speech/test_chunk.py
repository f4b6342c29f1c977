"""Chunks: what holds for any recording, whatever the detector says and however it is cut up."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.chunk import Chunker, chunks
from reflector_gpu.audio.vad import WINDOW, WINDOW_SECONDS, VadOptions
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.audio.speech.scripts import (
    CASES,
    CLICK,
    SHORTEST,
    SLOW,
    Case,
    Script,
    any_case,
    check_coverage,
    check_order,
    runs,
    talk,
    windows,
)


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
