"""The forms that Reflector and /transcribe read."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from reflector_gpu.formats import openai, reflector
from reflector_gpu.formats.words import seconds, spans
from reflector_gpu.types import Segment, Transcript, Word

HELLO = Word("Hello", 0.404, 0.811)
WORLD = Word("world.", 0.8111, 1.2049, speaker="Anna")
GREETING = Transcript((Segment.of([HELLO, WORLD]),), "en", 2.0)
SILENCE = Transcript((), None, 2.0)


def test_file_has_text_words_and_the_clients_file_name() -> None:
    assert reflector.file(GREETING, "call.wav").model_dump_json(exclude_none=True) == (
        '{"text":"Hello world.","words":['
        '{"word":" Hello","start":0.4,"end":0.81},'
        '{"word":" world.","start":0.81,"end":1.2,"speaker":"Anna"}'
        '],"filename":"call.wav"}'
    )


def test_transcript_from_a_url_has_no_file_name_and_is_shifted() -> None:
    answer = reflector.transcript(GREETING, offset=60.0)
    assert json.loads(answer.model_dump_json(exclude_none=True)) == {
        "text": "Hello world.",
        "words": [
            {"word": " Hello", "start": 60.4, "end": 60.81},
            {"word": " world.", "start": 60.81, "end": 61.2, "speaker": "Anna"},
        ],
    }


def test_transcribe_calls_a_word_text() -> None:
    assert reflector.transcribe(GREETING).model_dump_json(exclude_none=True) == (
        '{"text":"Hello world.","words":['
        '{"text":" Hello","start":0.4,"end":0.81},'
        '{"text":" world.","start":0.81,"end":1.2,"speaker":"Anna"}]}'
    )


def test_glued_words_have_no_space_and_joined_words_are_the_text() -> None:
    spoken = [Word("你", 0.0, 0.2, glued=True), Word("好", 0.2, 0.4, glued=True), HELLO]
    answer = reflector.transcript(Transcript((Segment.of(spoken),), "zh", 2.0))
    assert [word.word for word in answer.words] == ["你", "好", " Hello"]
    assert "".join(word.word for word in answer.words) == answer.text


@pytest.mark.parametrize(
    ("given", "told"),
    [(0.123456, 0.1235), (1, 1.0), (1.0000001, 1.0), (-0.5, 0.0), (math.nan, None), (None, None)],
)
def test_words_say_how_sure_the_recogniser_is(given: float | None, told: float | None) -> None:
    source = Transcript((Segment.of([replace(HELLO, probability=given)]),), "en", 1.0)
    (word,) = reflector.file(source, "a.wav").words
    (named,) = reflector.transcribe(source).words
    (verbose,) = openai.verbose_json(source, ("word",)).words or ()
    assert word.probability == named.probability == verbose.probability == told
    if told is None:
        assert "probability" not in word.model_dump_json(exclude_none=True)


def test_words_are_bare_where_that_is_asked_for() -> None:
    assert [word.word for word in reflector.file(GREETING, "a.wav", spaces="none").words] == [
        word.word for word in reflector.transcript(GREETING, spaces="none").words
    ]
    answer = reflector.transcribe(GREETING, spaces="none")
    assert [word.text for word in answer.words] == ["Hello", "world."]


def test_silence_is_an_empty_text_and_an_empty_list() -> None:
    assert reflector.file(SILENCE, "a.wav").model_dump(exclude_none=True) == {
        "text": "",
        "words": (),
        "filename": "a.wav",
    }
    assert (
        reflector.transcribe(SILENCE).model_dump_json(exclude_none=True) == '{"text":"","words":[]}'
    )


def test_text_without_words_keeps_its_text() -> None:
    source = Transcript((Segment(0.0, 1.0, "no times"),), "en", 1.0)
    assert reflector.transcript(source).model_dump(exclude_none=True) == {
        "text": "no times",
        "words": (),
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([(0.0, 0.0)], [(0.0, 0.0)]),
        ([(0.994, 0.996), (0.996, 1.004)], [(0.99, 1.0), (1.0, 1.0)]),
        ([(0.0, 0.9), (0.5, 1.0)], [(0.0, 0.5), (0.5, 1.0)]),
        ([(1.0, 2.0), (0.5, 3.0)], [(1.0, 1.0), (1.0, 3.0)]),
        ([(1.0, 0.5), (2.0, 2.5)], [(1.0, 1.0), (2.0, 2.5)]),
    ],
    ids=["no length", "rounds to no length", "overlap", "goes back", "ends before it starts"],
)
def test_spans_are_rounded_and_in_order(
    words: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    assert list(spans([Word("x", start, end) for start, end in words])) == expected


def test_seconds_have_no_negative_zero() -> None:
    assert str(seconds(-0.001)) == "0.0"
    assert seconds(5.0, offset=-5.25) == -0.25


def test_bodies_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        reflector.file(SILENCE, "a.wav").text = "x"
