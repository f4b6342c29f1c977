"""Words begin and end where the voice detector hears a voice, as far as they can be told apart."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.pipeline.word_edges import bounded, prolonged
from reflector_gpu.types import Recognition, Segment, Span, Word


def found(*words: Word) -> Recognition:
    return Recognition((Segment.of(words),), "en")


def times(recognition: Recognition) -> list[tuple[float, float]]:
    (segment,) = recognition.segments
    return [(word.start, word.end) for word in segment.words]


def test_a_short_word_behind_a_pause_is_at_the_end_of_the_pause() -> None:
    words = Word("so", 6.48, 8.1), Word("we", 8.1, 8.42)
    after = times(bounded(found(*words), [(6.0, 6.66), (8.05, 9.0)]))[0]
    assert after == pytest.approx((8.0, 8.1))  # a tenth of a second long at least


def test_the_last_word_of_a_sentence_is_before_the_pause_behind_it() -> None:
    words = Word("bank.", 6.2, 8.1), Word("We", 8.1, 8.42)
    assert times(bounded(found(*words), [(6.0, 6.66), (8.05, 9.0)]))[0] == (6.2, 6.66)


def test_what_is_spelled_letter_by_letter_takes_as_long_as_its_letters() -> None:
    words = Word("so", 0.2, 0.5), Word("C-L-S-G-O-F-H-Z", 0.6, 4.5)
    after = times(bounded(found(*words), [(0.2, 0.5), (0.6, 2.9), (3.4, 4.5)]))
    assert after == [(0.2, 0.5), (0.6, 4.5)]


def test_a_word_whose_full_stop_took_its_end_lasts_as_long_as_the_voice() -> None:
    words = Word("corpus.", 1.8, 2.2), Word("I'm", 2.6, 3.0)
    assert times(prolonged(found(*words), [(1.7, 2.5), (2.55, 3.1)])) == [(1.8, 2.5), (2.6, 3.1)]


def test_speech_without_words_is_not_given_to_the_word_before_it() -> None:
    words = Word("one", 1.0, 1.3), Word("two", 9.0, 9.3)
    assert times(prolonged(found(*words), [(1.0, 9.3)]))[0] == pytest.approx((1.0, 1.6))


seconds = st.floats(0, 30, allow_nan=False)


@given(st.lists(seconds, min_size=2, max_size=20), st.lists(seconds, max_size=12))
def test_words_stay_in_order_and_apart(edges: list[float], voices: list[float]) -> None:
    moments, switches = sorted(edges), sorted(voices)
    words = [Word("word", a, b) for a, b in zip(moments[::2], moments[1::2], strict=False)]
    voiced: list[Span] = list(zip(switches[::2], switches[1::2], strict=False))
    after = times(prolonged(bounded(found(*words), voiced), voiced))
    assert all(begin <= end for begin, end in after)
    assert all(before[1] <= behind[0] for before, behind in pairwise(after))
    assert all(begin >= word.start for (begin, _), word in zip(after, words, strict=True))
