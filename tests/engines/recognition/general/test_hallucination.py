"""Loops and guesses go; what people really say stays, however often they say it."""

from __future__ import annotations

from itertools import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.hallucination import (
    Guard,
    without_ending_loop,
    without_guesses,
    without_impossible_loops,
)
from reflector_gpu.types import Word

PACE = 0.25  # seconds that a short word takes


def said(text: str, pace: float = PACE, start: float = 0.0, probability: float = 0.9) -> list[Word]:
    """The words of ``text``, one after the other, ``pace`` seconds each."""
    return [
        Word(word, start + i * pace, start + (i + 1) * pace, probability)
        for i, word in enumerate(text.split())
    ]


def kept(guard: Guard, *parts: list[Word]) -> str:
    words = [word for part in parts for word in part]
    found = guard(words)
    assert len(found) == len(words)
    return " ".join(word.text for word in compress(words, found))


texts = st.lists(st.sampled_from(["no", "one", "two", "yes,", "Yes"]), max_size=40)


@given(texts, st.lists(st.floats(0.1, 2.0), min_size=40, max_size=40))
def test_whatever_is_said_at_a_human_pace_stays(spoken: list[str], lengths: list[float]) -> None:
    words: list[Word] = []
    for text, length in zip(spoken, lengths, strict=False):
        start = words[-1].end if words else 0.0
        words.append(Word(text, start, start + 0.001 + length * 0.999))
    assert all(without_impossible_loops(words))


@pytest.mark.parametrize("times", [2, 4, 30])
@pytest.mark.parametrize("text", ["no", "one two", "Thank you very much."])
def test_people_repeat_themselves(text: str, times: int) -> None:
    repeated = " ".join([text] * times)
    assert kept(without_impossible_loops, said(repeated)) == repeated
    assert kept(without_impossible_loops, said(repeated, pace=0.15)) == repeated


@pytest.mark.parametrize("times", [3, 4, 30, 100])
@pytest.mark.parametrize("loop", ["you", "thank you", "Thanks for watching, and see you."])
@pytest.mark.parametrize("pace", [0.0, 0.02, 2.5], ids=["at once", "too fast", "too slow"])
def test_a_loop_that_nobody_can_have_said_is_said_once(loop: str, times: int, pace: float) -> None:
    before, repeated = said("so that is all"), said(" ".join([loop] * times), pace, 1.0)
    after = said("goodbye then", start=30.0)
    found = kept(without_impossible_loops, before, repeated, after)
    assert found == f"so that is all {loop} goodbye then"


def test_what_was_said_before_it_became_impossible_stays() -> None:
    real, loop = said("no no no"), said("no " * 20, 0.01, 0.75)
    assert kept(without_impossible_loops, real, loop) == "no no no"


def test_the_rest_of_a_loop_that_was_cut_short_goes_with_it() -> None:
    loop = said("thank you thank you thank you thank", 0.01)
    assert kept(without_impossible_loops, loop) == "thank you"
    assert kept(without_ending_loop, loop) == "thank you"


@pytest.mark.parametrize("variant", ["you You, YOU. you", "哈 哈 哈 哈", "… … … …"])
def test_case_and_punctuation_make_no_difference(variant: str) -> None:
    assert kept(without_impossible_loops, said(variant, 0.01)) == variant.split()[0]


@given(texts, st.lists(st.floats(0, 3), min_size=40, max_size=40))
def test_no_word_is_lost_that_is_not_said_elsewhere(
    spoken: list[str], lengths: list[float]
) -> None:
    words: list[Word] = []
    for text, length in zip(spoken, lengths, strict=False):
        start = words[-1].end if words else 0.0
        words.append(Word(text, start, start + length))
    for guard in (without_impossible_loops, without_ending_loop):
        left = {word.text.strip(",").lower() for word in compress(words, guard(words))}
        assert left == {word.text.strip(",").lower() for word in words}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("we met and we met and we met and", "we met and"),
        ("it is so so so so so", "it is so"),
        ("it is so so", "it is so so"),
        ("no no no that is all", "no no no that is all"),
        ("", ""),
    ],
)
def test_a_text_that_never_ended_says_its_last_words_once(text: str, left: str) -> None:
    assert kept(without_ending_loop, said(text)) == left


def improbable(start: float, length: float = 0.4, probability: float = 0.1) -> list[Word]:
    return [Word("you", start, start + length, probability)]


def test_improbable_words_between_silences_are_guesses() -> None:
    real = said("hello team", start=4.0)
    assert kept(without_guesses, improbable(0.5), real, improbable(7.0)) == "hello team"
    assert kept(without_guesses, improbable(0.5)) == ""


@pytest.mark.parametrize("length", [0.0, 0.05, 4.0])
def test_so_are_doubtful_ones_of_an_impossible_length(length: float) -> None:
    assert kept(without_guesses, improbable(0.0, length, 0.4)) == ""
    assert kept(without_guesses, improbable(0.0, 0.4, 0.4)) == "you"


@pytest.mark.parametrize("start", [1.4, 2.4])
def test_an_improbable_word_beside_others_is_a_hard_one(start: float) -> None:
    real = said("my name is Xiomara", start=0.0)
    assert kept(without_guesses, real, improbable(start - 0.4)).endswith("you") == (start < 2)


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5), st.floats(0.5, 1)), max_size=12))
def test_what_is_rather_right_than_wrong_stays(found: list[tuple[float, float, float]]) -> None:
    words = [Word("word", start, start + length, p) for start, length, p in sorted(found)]
    assert all(without_guesses(words))
    assert all(without_guesses([Word(w.text, w.start, w.end) for w in words]))
