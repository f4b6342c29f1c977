"""Speech that a recogniser skipped is decoded again, and reported if it stays without words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.errors import EngineFailed
from reflector_gpu.pipeline.unheard import (
    LEAST_SECONDS,
    SHORTEST_UTTERANCE,
    Heard,
    hear,
    repeats_prompt,
    unheard,
    utterances_apart,
)
from reflector_gpu.types import (
    SAMPLE_RATE,
    Chunk,
    Recognition,
    Segment,
    SegmentScores,
    Span,
    TranscribeOptions,
    Word,
)

OPTIONS = TranscribeOptions(language="en")
SCORES = SegmentScores(-0.2, 1.2, 0.1)


def chunk(seconds: float, *voiced: Span, start: float = 100.0) -> Chunk:
    return Chunk(np.arange(seconds * SAMPLE_RATE, dtype=np.float32), start, voiced)


def spoken(text: str, start: float, seconds: float = 0.3) -> list[Word]:
    """The words of ``text``, one every half a second."""
    return [
        Word(word, start + i / 2, start + i / 2 + seconds) for i, word in enumerate(text.split())
    ]


class Recogniser:
    """Answers with what it was given, one after the other; remembers what it was asked."""

    def __init__(self, *answers: Sequence[Word] | EngineFailed) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[float, float]] = []
        self.options: list[TranscribeOptions] = []

    async def __call__(self, chunk: Chunk, options: TranscribeOptions) -> Recognition:
        self.asked.append((round(chunk.start, 2), round(chunk.end, 2)))
        self.options.append(options)
        words = self._answers.pop(0)
        if isinstance(words, EngineFailed):
            raise words
        return Recognition((Segment.of(words, SCORES),) if words else (), "en")


def heard(one: Chunk, recogniser: Recogniser, options: TranscribeOptions = OPTIONS) -> Heard:
    return asyncio.run(hear(one, options, recogniser))


def text_of(found: Heard) -> str:
    return " ".join(segment.text for segment in found.recognition.segments)


def test_what_has_words_everywhere_is_decoded_once() -> None:
    recogniser = Recogniser(spoken("one two three four", 1.0))
    found = heard(chunk(10, (0.9, 2.9)), recogniser)
    assert text_of(found) == "one two three four"
    assert found.unheard == ()
    assert recogniser.asked == [(100.0, 110.0)]


def test_an_utterance_that_was_skipped_is_decoded_again_and_put_in_its_place() -> None:
    recogniser = Recogniser(
        [*spoken("it begins", 1.0), *spoken("it ends", 20.0)], spoken("in the middle", 0.3)
    )
    found = heard(chunk(30, (0.9, 2.0), (8.0, 10.0), (19.9, 21.0)), recogniser)
    assert text_of(found) == "it begins in the middle it ends"
    assert recogniser.asked == [(100.0, 130.0), (107.8, 110.2)]
    words = [word for segment in found.recognition.segments for word in segment.words]
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert words[2].start == pytest.approx(7.8 + 0.3)
    assert {segment.scores for segment in found.recognition.segments} == {SCORES}
    assert found.unheard == ()


def test_a_word_that_swallows_the_pause_before_it_hides_nothing() -> None:
    swollen = [*spoken("it begins", 1.0), Word("Who", 2.0, 20.3), *spoken("asks", 20.5)]
    recogniser = Recogniser(swollen, spoken("in the middle", 0.3))
    found = heard(chunk(30, (0.9, 2.0), (8.0, 10.0), (19.9, 21.0)), recogniser)
    assert text_of(found) == "it begins in the middle Who asks"


def test_what_stays_without_words_is_reported() -> None:
    recogniser = Recogniser(spoken("it begins", 1.0), [])
    found = heard(chunk(30, (0.9, 2.0), (8.0, 10.0)), recogniser)
    assert text_of(found) == "it begins"
    assert found.unheard == ((8.0, 10.0),)


def test_a_chunk_without_any_words_is_cut_at_its_longest_pause() -> None:
    recogniser = Recogniser([], spoken("one two three", 0.2), spoken("four five six", 0.2))
    found = heard(chunk(12, (0.3, 1.0), (1.2, 1.7), (10.2, 11.8)), recogniser)
    assert recogniser.asked == [(100.0, 112.0), (100.1, 101.9), (110.0, 112.0)]
    assert text_of(found) == "one two three four five six"
    assert found.unheard == ()


def test_a_single_word_between_silences_that_vanishes_is_reported() -> None:
    """The recogniser was too unsure of it, and decoding it again would give the same."""
    recogniser = Recogniser([])
    assert heard(chunk(1, (0.3, 0.46)), recogniser).unheard == ((0.3, 0.46),)
    assert len(recogniser.asked) == 1


def test_a_short_utterance_between_others_is_reported_if_it_has_no_words() -> None:
    recogniser = Recogniser([*spoken("it begins", 1.0), *spoken("it ends", 20.0)])
    voiced = ((0.9, 2.0), (8.0, 8.1), (8.2, 8.3), (19.9, 21.0))
    found = heard(chunk(30, *voiced), recogniser)
    assert text_of(found) == "it begins it ends"
    assert found.unheard == ((8.0, 8.3),)


def test_a_click_and_a_breath_behind_a_word_are_not_reported() -> None:
    recogniser = Recogniser(spoken("it begins", 1.0))
    found = heard(chunk(30, (0.9, 2.0), (2.05, 2.4), (8.0, 8.1)), recogniser)
    assert found.unheard == ()


def test_nothing_is_decoded_again_without_a_word_of_who_was_heard() -> None:
    recogniser = Recogniser([], [])
    found = heard(chunk(4, (0.3, 3.8)), recogniser)
    assert recogniser.asked == [(100.0, 104.0), (100.1, 104.0)]
    assert [options.voiced for options in recogniser.options] == [False, True]
    assert found.unheard == ((0.3, 3.8),)


def test_decoding_goes_on_where_it_was_stopped_until_nothing_more_comes() -> None:
    recogniser = Recogniser(spoken("one two three", 0.2), spoken("four five", 0.2), [])
    found = heard(chunk(10, (0.2, 9.8)), recogniser)
    assert text_of(found) == "one two three four five"
    assert [begin for begin, _ in recogniser.asked] == [100.0, 101.55, 102.6]
    assert {end for _, end in recogniser.asked} == {110.0}
    (stretch,) = found.unheard
    assert stretch == pytest.approx((2.8, 9.8))


def test_a_word_that_swallows_a_pause_is_where_the_voice_is() -> None:
    words = [*spoken("it begins", 1.0), Word("Who", 1.8, 17.7), *spoken("asks", 17.8)]
    recogniser = Recogniser(words)
    found = heard(chunk(30, (0.9, 2.0), (17.5, 18.2)), recogniser)
    (segment,) = found.recognition.segments
    assert (segment.words[2].start, segment.words[2].end) == (17.5, 17.8)  # the voice goes on
    assert recogniser.asked == [(100.0, 130.0)]


def test_a_word_that_is_too_long_is_bounded_where_no_voice_was_found() -> None:
    words = [*spoken("one two three", 1.0), Word("four", 2.5, 9.0)]
    found = heard(chunk(30, (0.9, 2.4)), Recogniser(words))
    assert found.recognition.segments[0].words[-1].start == 9.0 - 0.6


def test_a_prompt_that_is_repeated_is_left_out_the_second_time() -> None:
    told = TranscribeOptions(prompt="Notes of the weekly meeting of Anna, Ben and Carla.")
    echo = spoken("weekly meeting of Anna Ben and Carla", 0.2)
    recogniser = Recogniser(echo, spoken("we begin with the budget for today", 0.2))
    found = heard(chunk(5, (0.1, 3.9)), recogniser, told)
    assert text_of(found) == "we begin with the budget for today"
    assert recogniser.options == [told, TranscribeOptions(voiced=True)]


def test_hotwords_that_are_listed_are_no_transcript() -> None:
    told = TranscribeOptions(hotwords=("Kubernetes", "Istio", "Envoy", "Helm", "Argo", "Flux"))
    assert repeats_prompt(spoken("Kubernetes, Istio, Envoy, Helm, Argo, Flux.", 0.0), told)
    assert not repeats_prompt(spoken("we run Kubernetes and Istio with Envoy here", 0.0), told)


def test_what_is_skipped_is_decoded_without_the_prompt() -> None:
    told = TranscribeOptions(language="en", prompt="About cats.", hotwords=("cat",))
    recogniser = Recogniser(spoken("it begins", 1.0), spoken("and goes on", 0.3))
    heard(chunk(30, (0.9, 2.0), (8.0, 10.0)), recogniser, told)
    assert recogniser.options == [told, replace(OPTIONS, voiced=True)]


def test_an_engine_without_word_times_is_left_alone() -> None:
    async def recognise(one: Chunk, options: TranscribeOptions) -> Recognition:
        return Recognition((Segment(0.0, 10.0, "all of it"),))

    found = asyncio.run(hear(chunk(10, (0.0, 10.0)), OPTIONS, recognise))
    assert text_of(found) == "all of it"
    assert found.unheard == ()


TIMES = st.floats(0, 30).map(lambda value: round(value, 2))
SPANS = (
    st.lists(TIMES, max_size=12).map(sorted).map(lambda t: list(zip(t[::2], t[1::2], strict=False)))
)


@given(SPANS, SPANS)
def test_unheard_stretches_are_voiced_apart_and_long_enough(
    voiced: list[Span], times: list[Span]
) -> None:
    words = [Word("word", start, end) for start, end in times]
    found = unheard(words, voiced)
    assert [index for index, _ in found] == sorted({index for index, _ in found})
    for index, (start, end) in found:
        assert end - start >= LEAST_SECONDS - 1e-9
        assert sum(min(end, b) - max(start, a) for a, b in voiced if b > start and a < end) >= (
            LEAST_SECONDS - 1e-9
        )
        if index:
            assert start >= words[index - 1].end
        if index < len(words):
            assert end <= words[index].end


@given(SPANS, SPANS)
def test_utterances_without_words_are_voiced_and_apart_from_any_word(
    voiced: list[Span], times: list[Span]
) -> None:
    words = [Word("word", start, end) for start, end in times]
    found = utterances_apart(words, voiced)
    assert found == sorted(found)
    for start, end in found:
        assert end - start >= SHORTEST_UTTERANCE - 1e-9
        assert start in {a for a, _ in voiced}
        assert end in {b for _, b in voiced}
        assert all(word.end <= start or word.start >= end for word in words)


@pytest.mark.parametrize(
    ("certainty", "heard_as"), [(0.6, ["en", "en", "en"]), (0.95, ["en", "de", "en"])]
)
def test_what_is_decoded_again_is_in_the_language_of_its_chunk_unless_another_is_certain(
    certainty: float, heard_as: list[str]
) -> None:
    async def recognise(part: Chunk, options: TranscribeOptions) -> Recognition:
        if part.duration == 30:
            words = [*spoken("it begins", 1.0), *spoken("it ends", 20.0)]
            return Recognition((Segment.of(words, SCORES),), "en", 0.99)
        language = options.language or "de"
        words = spoken("ja genau", 0.3)
        return Recognition((Segment.of(words, SCORES),), language, certainty)

    found = asyncio.run(
        hear(chunk(30, (0.9, 2.0), (8.0, 9.2), (19.9, 21.0)), TranscribeOptions(), recognise)
    )
    languages = [one.language or found.recognition.language for one in found.recognition.segments]
    assert languages == heard_as


def test_a_chunk_that_the_engine_fails_on_is_unheard_from_its_first_voice_to_its_last() -> None:
    failure = EngineFailed("It died.")
    assert heard(chunk(10, (0.9, 2.9), (5.0, 6.0)), Recogniser(failure)) == Heard(
        Recognition(), ((0.9, 6.0),), failure
    )
    assert heard(chunk(10), Recogniser(failure)).unheard == ((0.0, 10.0),)


def test_an_engine_that_fails_on_what_it_skipped_loses_nothing_that_it_heard() -> None:
    failure = EngineFailed("It died.")
    found = heard(chunk(10, (0.9, 2.0), (5.0, 8.0)), Recogniser(spoken("one two", 1.0), failure))
    assert text_of(found) == "one two"
    assert found.unheard == ((5.0, 8.0),)
    assert found.failure is failure
    assert not found.lost
