"""The OpenAI formats: their exact JSON, and that openai-python's types take it strictly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TypeVar

import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)
from pydantic import BaseModel

from reflector_gpu.formats import openai
from reflector_gpu.formats.response_format import MEDIA_TYPES, Format, Granularity
from reflector_gpu.languages import language_name
from reflector_gpu.pipeline.attribution import attribute
from reflector_gpu.types import Segment, SegmentScores, SpeakerTurn, Token, Transcript, Word

Parsed = TypeVar("Parsed", bound=BaseModel)

SCORES = SegmentScores(-0.25, 1.4, 0.02, temperature=0.2)
FIRST = Segment.of(
    [
        Word("Good", 0.5, 0.8, tokens=(Token(5245, b" Good", -0.5),)),
        Word("morning.", 0.8, 1.404, tokens=(Token(2446, b" morning", -0.25), Token(13, b".", 0))),
    ],
    SCORES,
)
SECOND = Segment.of([Word("Hello!", 2.0, 2.5)])
MEETING = Transcript((FIRST, SECOND), "en", 2.504)


def parsed(kind: type[Parsed], answer: BaseModel) -> Parsed:
    """``answer`` over the wire, read by the client's own type without any leniency."""
    return kind.model_validate_json(answer.model_dump_json(exclude_none=True), strict=True)


def test_json() -> None:
    answer = openai.json(MEETING)
    assert answer.model_dump_json(exclude_none=True) == (
        '{"text":"Good morning. Hello!","languages":[{"code":"en"}],'
        '"usage":{"type":"duration","seconds":3}}'
    )
    client = parsed(Transcription, answer)
    assert client.languages
    assert client.languages[0].code == "en"
    assert client.usage is not None
    assert client.usage.type == "duration"
    assert not client.model_extra


def test_json_has_no_languages_where_none_is_known() -> None:
    answer = openai.json(Transcript((), None, 1.0)).model_dump_json(exclude_none=True)
    assert answer == '{"text":"","usage":{"type":"duration","seconds":1}}'


def test_text() -> None:
    assert openai.text(MEETING) == "Good morning. Hello!\n"
    assert openai.text(Transcript((), None, 1.0)) == "\n"


def test_verbose_json_has_segments_unless_told_otherwise() -> None:
    answer = openai.verbose_json(MEETING)
    assert json.loads(answer.model_dump_json(exclude_none=True)) == {
        "task": "transcribe",
        "language": "english",
        "duration": 2.5,
        "text": "Good morning. Hello!",
        "segments": [
            {
                "id": 0,
                "seek": 50,
                "start": 0.5,
                "end": 1.4,
                "text": "Good morning.",
                "tokens": [5245, 2446, 13],
                "temperature": 0.2,
                "avg_logprob": -0.25,
                "compression_ratio": 1.4,
                "no_speech_prob": 0.02,
            },
            {
                "id": 1,
                "seek": 200,
                "start": 2.0,
                "end": 2.5,
                "text": "Hello!",
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": 0.0,
                "compression_ratio": 1.0,
                "no_speech_prob": 0.0,
            },
        ],
        "usage": {"type": "duration", "seconds": 3},
    }
    assert parsed(TranscriptionVerbose, answer).model_extra == {"task": "transcribe"}


@pytest.mark.parametrize(
    ("asked", "has_segments", "has_words"),
    [((), True, False), (("segment",), True, False), (("word",), False, True)]
    + [(both, True, True) for both in (("word", "segment"), ("segment", "word"))],
)
def test_verbose_json_gives_what_was_asked_for_as_whisper_1_does(
    asked: tuple[Granularity, ...], has_segments: bool, has_words: bool
) -> None:
    client = parsed(TranscriptionVerbose, openai.verbose_json(MEETING, asked))
    assert (client.segments is not None, client.words is not None) == (has_segments, has_words)


def test_verbose_json_words() -> None:
    body = openai.verbose_json(MEETING, ("word",), offset=10).model_dump_json(exclude_none=True)
    assert body == (
        '{"task":"transcribe","language":"english","duration":2.5,"text":"Good morning. Hello!",'
        '"words":[{"word":" Good","start":10.5,"end":10.8},'
        '{"word":" morning.","start":10.8,"end":11.4},{"word":" Hello!","start":12.0,"end":12.5}],'
        '"usage":{"type":"duration","seconds":3}}'
    )


def test_verbose_json_words_are_bare_where_that_is_asked_for() -> None:
    answer = openai.verbose_json(MEETING, ("word",), spaces="none")
    assert [word.word for word in answer.words or ()] == ["Good", "morning.", "Hello!"]


def test_words_asked_for_are_a_list_even_where_there_are_none() -> None:
    answer = openai.verbose_json(Transcript((), None, 0.0), ("word", "segment"))
    client = parsed(TranscriptionVerbose, answer)
    assert (client.words, client.segments, client.text) == ([], [], "")
    assert client.language == "unknown"


def test_verbose_json_says_who_speaks_if_that_is_known() -> None:
    turns = [SpeakerTurn(0.0, 0.8, 0), SpeakerTurn(0.8, 1.5, 1), SpeakerTurn(2.0, 2.6, 0)]
    words = [
        replace(word, text=text) for word, text in zip(FIRST.words, ("Well.", "Yes."), strict=True)
    ]
    cut = tuple(attribute([Segment.of(words, SCORES), SECOND], turns))
    answer = openai.verbose_json(Transcript(cut, "en", 3.0), ("word", "segment"))
    client = parsed(TranscriptionVerbose, answer)
    assert [word.model_extra for word in client.words or []] == [
        {"speaker": who} for who in ("A", "B", "A")
    ]
    assert client.segments
    assert [(segment.id, segment.text) for segment in client.segments] == [
        (0, "Well."),
        (1, "Yes."),
        (2, "Hello!"),
    ]
    assert [segment.model_extra for segment in client.segments] == [
        {"speaker": who} for who in ("A", "B", "A")
    ]
    assert [segment.avg_logprob for segment in client.segments] == [-0.25, -0.25, 0.0]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_every_score_is_a_number_that_json_has(score: float) -> None:
    broken = SegmentScores(score, score, score, temperature=score)
    source = Transcript((Segment(0.0, 1.0, "x", scores=broken),), "en", 1.0)
    client = parsed(TranscriptionVerbose, openai.verbose_json(source))
    assert client.segments is not None
    expected = 0.0 if math.isnan(score) else math.copysign(1000.0, score)
    assert client.segments[0].avg_logprob == expected


def test_translations_are_english() -> None:
    source = Transcript((SECOND,), "fr", 2.5)
    assert openai.translation(source).model_dump_json(exclude_none=True) == '{"text":"Hello!"}'
    assert not parsed(Translation, openai.translation(source)).model_extra
    client = parsed(TranslationVerbose, openai.verbose_translation(source))
    assert (client.language, client.text) == ("english", "Hello!")
    assert client.model_extra == {
        "task": "translate",
        "usage": {"type": "duration", "seconds": 3},
    }


def test_diarized_json_cuts_segments_where_the_speaker_changes() -> None:
    words = [
        Word("Ready?", 0.0, 0.5, speaker="Anna"),
        Word("Yes,", 0.6, 0.9, speaker="B"),
        Word("sure.", 0.9, 1.2),
        Word("Good.", 1.3, 1.6, speaker="Anna"),
    ]
    answer = openai.diarized_json(Transcript((Segment.of(words), SECOND), "en", 3.0))
    assert json.loads(answer.model_dump_json(exclude_none=True)) == {
        "task": "transcribe",
        "duration": 3.0,
        "text": "Ready? Yes, sure. Good. Hello!",
        "segments": [
            {"type": "transcript.text.segment", "id": name, "start": start, "end": end}
            | {"text": text, "speaker": speaker}
            for name, start, end, text, speaker in [
                ("seg_0", 0.0, 0.5, "Ready?", "Anna"),
                ("seg_0_1", 0.6, 1.2, "Yes, sure.", "B"),
                ("seg_0_2", 1.3, 1.6, "Good.", "Anna"),
                ("seg_1", 2.0, 2.5, "Hello!", "A"),
            ]
        ],
        "usage": {"type": "duration", "seconds": 3},
    }
    assert not parsed(TranscriptionDiarized, answer).model_extra


@pytest.mark.parametrize(
    ("segment_speaker", "word_speakers", "expected"),
    [
        (None, (None, None), ["A"]),
        ("Bob", (None, None), ["Bob"]),
        ("Bob", (None, "Anna"), ["Bob", "Anna"]),
        (None, (None, "Anna"), ["Anna"]),
        (None, ("Anna", None), ["Anna"]),
    ],
)
def test_words_without_a_label_are_the_segments_or_their_neighbours(
    segment_speaker: str | None, word_speakers: tuple[str | None, ...], expected: list[str]
) -> None:
    words = tuple(Word("x", n, n + 1, speaker=label) for n, label in enumerate(word_speakers))
    source = Transcript((Segment(0.0, 2.0, "x x", words, segment_speaker),), "en", 2.0)
    assert [part.speaker for part in openai.diarized_json(source).segments] == expected


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("en", "english"),
        ("en-US", "english"),
        ("ZH_hans", "chinese"),
        ("haw", "hawaiian"),
        ("ht", "haitian creole"),
        ("tlh", "tlh"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_languages_have_their_english_names(code: str | None, name: str) -> None:
    assert language_name(code) == name


def test_every_format_has_a_media_type() -> None:
    assert set(MEDIA_TYPES) == set(Format)
    assert Format("srt") is Format.SRT
