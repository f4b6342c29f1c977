"""The word rules of the API, whatever an engine returns."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.pipeline.stitching import LONGEST_SEGMENT, place
from reflector_gpu.sentences import PAUSE, UNSCORED_PAUSE
from reflector_gpu.types import (
    SAMPLE_RATE,
    Chunk,
    Recognition,
    Segment,
    SegmentScores,
    Token,
    Word,
    join_words,
)

SCORES = SegmentScores(-0.3, 1.2, 0.01)


def chunk(start: float = 100.0, seconds: float = 10.0) -> Chunk:
    return Chunk(np.zeros(round(seconds * SAMPLE_RATE), np.float32), start)


def words(*spans: tuple[str, float, float]) -> Recognition:
    return Recognition((Segment.of(Word(*span) for span in spans),), "en")


def placed(recognition: Recognition, where: Chunk | None = None) -> list[tuple[str, float, float]]:
    segments = place(recognition, where or chunk())
    return [(w.text, w.start, w.end) for segment in segments for w in segment.words]


def test_times_move_to_the_recordings_clock() -> None:
    assert placed(words(("a", 0.0, 0.5), ("b", 0.75, 1.0))) == [
        ("a", 100.0, 100.5),
        ("b", 100.75, 101.0),
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(0.0, 1.0), (0.5, 2.0)], [(0.0, 0.5), (0.5, 2.0)]),  # overlapping
        ([(1.0, 2.0), (0.0, 0.5)], [(1.0, 1.0), (1.0, 1.0)]),  # backwards
        ([(2.0, 1.0)], [(2.0, 2.0)]),  # ends before it starts
        ([(-3.0, 1.0)], [(0.0, 1.0)]),  # before the chunk
        ([(9.0, 30.0)], [(9.0, 10.0)]),  # beyond its end
        ([(30.0, 40.0)], [(10.0, 10.0)]),
        ([(math.nan, 1.0)], [(0.0, 1.0)]),
        ([(1.0, math.nan)], [(1.0, 1.0)]),
        ([(1.0, 2.0), (math.nan, math.nan), (3.0, 4.0)], [(1.0, 1.0), (1.0, 1.0), (3.0, 4.0)]),
        ([(-math.inf, math.inf)], [(0.0, 10.0)]),
        ([(math.inf, -math.inf)], [(10.0, 10.0)]),
    ],
)
def test_bad_times_are_mended(
    given: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    found = placed(words(*(("w", *span) for span in given)))
    assert [(start - 100, end - 100) for _, start, end in found] == expected


ANY_TIME = (
    st.floats(-5, 40)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from([0.0, -0.0, 10.0, 1e300])
)
WORDS = st.builds(
    Word,
    st.sampled_from(["a", "Hello,", "end.", "好。", "what?"]),
    ANY_TIME,
    ANY_TIME,
    st.none() | st.floats(0, 1),
    glued=st.booleans(),
)
SEGMENTS = st.builds(
    Segment,
    ANY_TIME,
    ANY_TIME,
    st.just("text"),
    st.lists(WORDS, max_size=6).map(tuple),
    scores=st.none() | st.just(SCORES),
)
SILENT = st.builds(Segment, ANY_TIME, ANY_TIME, st.just("text"))
CHUNKS = st.builds(chunk, st.floats(0, 30_000), st.sampled_from([0.5, 7.0, 30.0]))
some = settings(max_examples=50)


def check_words(spoken: list[Word]) -> None:
    for word in spoken:
        assert word.start <= word.end
    for one, following in pairwise(spoken):
        assert one.start <= following.start
        assert one.end <= following.start


@some
@given(st.lists(SEGMENTS, max_size=5).map(tuple), CHUNKS)
def test_the_word_rules_hold(segments: tuple[Segment, ...], where: Chunk) -> None:
    found = place(Recognition(segments), where)
    check_words([word for segment in found for word in segment.words])
    spans: list[Segment | Word] = [*found, *(word for s in found for word in s.words)]
    for span in spans:
        assert where.start <= span.start <= span.end <= where.end


@some
@given(st.lists(SEGMENTS, max_size=5).map(tuple), CHUNKS)
def test_no_word_is_lost_or_changed(segments: tuple[Segment, ...], where: Chunk) -> None:
    def untimed(segments: tuple[Segment, ...]) -> list[Word]:
        return [replace(w, start=0, end=0) for segment in segments for w in segment.words]

    found = place(Recognition(segments), where)
    assert untimed(found) == untimed(segments)
    for segment in found:
        if segment.words:
            assert segment.text == join_words(segment.words)
            assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


@some
@given(st.lists(SILENT, max_size=6).map(tuple), CHUNKS)
def test_segments_without_words_are_in_order_too(
    segments: tuple[Segment, ...], where: Chunk
) -> None:
    found = place(Recognition(segments), where)
    assert len(found) == len(segments)
    for one, following in pairwise(found):
        assert one.start <= following.start


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.lists(SEGMENTS, max_size=2).map(tuple), st.floats(0.5, 3), st.floats(0, 2)),
        max_size=4,
    )
)
def test_the_rules_hold_from_chunk_to_chunk(
    parts: list[tuple[tuple[Segment, ...], float, float]],
) -> None:
    now, spoken = 0.0, []
    for segments, seconds, pause in parts:
        where = chunk(now, seconds)
        spoken += [w for s in place(Recognition(segments), where) for w in s.words]
        now = where.end + pause
    check_words(spoken)


def test_pauses_and_sentences_make_segments() -> None:
    pause = UNSCORED_PAUSE + 0.01
    found = place(
        words(
            ("One", 0.0, 0.5),
            ("two.", 0.5, 1.0),
            ("Three", 1.0, 1.5),
            ("four", 1.5 + pause, 3.0),
            ("five?", 3.0 + UNSCORED_PAUSE / 2, 4.0),
            ("六。", 4.0, 5.0),
        ),
        chunk(0),
    )
    assert [segment.text for segment in found] == ["One two.", "Three", "four five?", "六。"]
    assert [(s.start, s.end) for s in found] == [(0, 1), (1, 1.5), (1.5 + pause, 4), (4, 5)]


def test_a_chunk_that_was_recognised_at_once_becomes_sentences_with_their_own_tokens() -> None:
    tokens = [Token(number, b"", -0.1) for number in range(8)]
    own = Segment.of(
        [
            Word("One", 0, 1, tokens=(tokens[0],)),
            Word("thing.", 1, 2, tokens=(tokens[1], tokens[2])),
            Word("Another,", 2, 3, tokens=(tokens[3],)),
            Word("then", 3 + PAUSE - 0.01, 4, tokens=(tokens[4],)),
            Word("Dr.", 4, 5, tokens=(tokens[5],)),
            Word("Ho", 5, 6, tokens=(tokens[6],)),
            Word("and", 6 + PAUSE + 0.01, 7, tokens=(tokens[7],)),
        ],
        SCORES,
    )
    found = place(Recognition((own,)), chunk(0))
    assert [segment.text for segment in found] == ["One thing.", "Another, then Dr. Ho", "and"]
    assert [list(segment.tokens) for segment in found] == [tokens[:3], tokens[3:7], tokens[7:]]
    assert all(segment.scores is SCORES for segment in found)


def test_a_recognisers_scores_stay_where_its_words_have_no_tokens() -> None:
    own = (
        Segment.of([Word("One.", 0, 1), Word("Two", 1, 2)], SCORES),
        Segment.of([Word("three", 2, 3)], SCORES),
    )
    found = place(Recognition(own), chunk(0))
    assert [segment.text for segment in found] == ["One.", "Two", "three"]
    assert all(segment.scores is SCORES for segment in found)


def test_a_long_sentence_is_cut_at_a_comma_near_its_middle() -> None:
    texts = ["word"] * 24
    texts[2], texts[13] = "early,", "comma,"
    own = Segment.of([Word(text, i / 2, i / 2 + 0.5) for i, text in enumerate(texts)], SCORES)
    found = place(Recognition((own,)), chunk(0, 15))
    assert [len(segment.words) for segment in found] == [14, 10]


def test_a_long_sentence_is_not_cut_inside_a_word_but_between_chinese_ones() -> None:
    english = [Word("half", i, i + 1, glued=i % 2 > 0) for i in range(12)]
    chinese = [Word("好", i, i + 1, glued=i > 0) for i in range(12)]
    for words, expected in ((english, [6, 6]), (chinese, [6, 6])):
        (*parts,) = place(Recognition((Segment.of(words, SCORES),)), chunk(0, 12))
        assert [len(part.words) for part in parts] == expected
        assert words[6].glued is (words is chinese)


@some
@given(st.lists(SEGMENTS, max_size=5).map(tuple), CHUNKS)
def test_no_segment_is_longer_than_ten_seconds_unless_it_is_one_word(
    segments: tuple[Segment, ...], where: Chunk
) -> None:
    for segment in place(Recognition(segments), where):
        assert len(segment.words) < 2 or segment.end - segment.start <= LONGEST_SEGMENT


def test_a_segment_without_words_keeps_its_text() -> None:
    (found,) = place(Recognition((Segment(1, 2, "Hello there", scores=SCORES),)), chunk(50))
    assert found == Segment(51, 52, "Hello there", scores=SCORES)


def test_nothing_heard_nothing_placed() -> None:
    assert place(Recognition(language="en"), chunk()) == ()
