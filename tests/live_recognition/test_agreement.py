"""Which words of a hypothesis are settled."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.live.agreement import agreed, ascending, beyond, complete, plain, voiced
from reflector_gpu.types import Word


def said(text: str, start: float = 0.0) -> list[Word]:
    """The words of ``text``, one every half a second."""
    return [Word(one, start + n / 2, start + n / 2 + 0.4) for n, one in enumerate(text.split())]


@pytest.mark.parametrize(
    ("before", "now", "count"),
    [
        ("", "we went", 0),
        ("we went", "", 0),
        ("we went home", "we went out", 2),
        ("We went, home", "we went home again", 3),
        ("we went home", "we went home", 3),
        ("we went home.", "we went home", 2),  # nothing stands behind it yet
        ("we went home.", "we went home and", 3),
        ("we went home.", "we went home.", 3),
        ("out we went", "we went", 0),
        ("« we", "« we went", 2),
    ],
)
def test_words_are_agreed_on_up_to_the_first_that_differs(
    before: str, now: str, count: int
) -> None:
    assert agreed(said(before), said(now)) == count


@pytest.mark.parametrize(
    ("settled", "heard", "count"),
    [
        ("", "we went home", 0),
        ("we went", "we went home", 2),
        ("We went,", "we went home", 2),
        ("we went", "he went home", 2),
        ("ice cream", "I scream today", 2),
        ("no no", "no no no", 2),
        ("we went home", "we went", 2),
        ("we went", "", 0),
    ],
)
def test_settled_words_are_found_again(settled: str, heard: str, count: int) -> None:
    assert beyond(said(settled), said(heard)) == count


def test_times_tell_where_settled_words_end_if_the_pass_left_one_out() -> None:
    assert beyond(said("you and you and"), said("you and")) == 2
    assert beyond(said("yes yes"), said("yes", start=2.0)) == 0


def test_a_word_is_complete_if_it_and_all_before_it_end_in_time() -> None:
    words = said("one two three")
    assert complete(words, 0.3) == 0
    assert complete(words, 1.0) == 2
    assert complete(words, 9.0) == 3


def test_words_beside_all_speech_were_not_said() -> None:
    words = said("one two three four five six")
    assert [word.text for word in voiced(words, [(0.9, 1.5)])] == ["two", "three", "four"]
    assert voiced(words, []) == []


def test_what_differs_in_case_and_punctuation_is_one_word() -> None:
    assert plain(Word("Well-known,", 0, 1)) == plain(Word("wellknown", 0, 1))
    assert plain(Word("...", 0, 1)) == "..."


TIMES = st.floats(0, 20, allow_nan=False)
WORDS = st.lists(st.builds(Word, st.sampled_from("a b c d".split()), TIMES, TIMES), max_size=12)


@given(WORDS, TIMES, TIMES)
def test_times_ascend_whatever_the_recogniser_says(
    words: list[Word], earliest: float, latest: float
) -> None:
    found = ascending(words, earliest, latest)
    assert [word.text for word in found] == [word.text for word in words]
    assert all(earliest <= word.start <= word.end for word in found)
    assert all(word.end <= max(earliest, latest) for word in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


@given(WORDS, WORDS)
def test_what_follows_settled_words_is_a_part_of_what_was_heard(
    settled: list[Word], heard: list[Word]
) -> None:
    assert 0 <= beyond(settled, heard) <= len(heard)


@given(st.lists(st.sampled_from("a b c d".split()), max_size=12), st.integers(0, 12))
def test_all_that_follows_is_new_if_a_pass_repeats_what_is_settled(
    texts: list[str], count: int
) -> None:
    words = said(" ".join(texts))
    assert beyond(words[:count], words) == min(count, len(words))
