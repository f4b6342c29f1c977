"""Chunks of streams: short at first, so that words come early, and longer later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.chunk import MIN_CHUNK_SECONDS, chunker, chunks
from reflector_gpu.audio.decode import BLOCK_SAMPLES
from reflector_gpu.audio.vad import WINDOW, WINDOW_SECONDS, VadOptions
from reflector_gpu.types import PLAIN, SAMPLE_RATE, Samples, Schedule
from tests.audio.speech.scripts import (
    CASES,
    CLICK,
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


@pytest.mark.parametrize("pace", [2, 4])
def test_a_stream_that_arrives_faster_than_it_is_spoken_has_long_chunks(pace: int) -> None:
    script = talk(*[(1.0, 300), (0.0, 9)] * 12)
    schedule = Schedule((3.0,), earliest_cut=0.75, patience=5.0)
    blocks = np.split(np.ones(len(script) * WINDOW, np.float32), len(script) // 3)

    def starts(seconds_to_wait: float) -> list[float]:
        """The starts of chunks, if each second of audio is waited for so long."""
        cutter = chunker(
            Script(script), max_seconds=30.0, max_gap=30, options=VadOptions(), schedule=schedule
        )
        return [
            chunk.start
            for number, block in enumerate(blocks, 1)
            for chunk in cutter.push(block, 3 * number * WINDOW_SECONDS * seconds_to_wait)
        ]

    assert starts(1 / pace) == starts(0.0) != starts(1.0)


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
