"""Log probabilities of tokens: what is written beside a text spells that text."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.formats import openai
from reflector_gpu.formats.logprobs import logprobs
from reflector_gpu.formats.schemas import Logprob
from reflector_gpu.types import Segment, Token, Transcript, Word

TEXTS = st.sampled_from(["Hello,", "world.", "你好", "é", "¿Qué?", "don't", "👍🏽", "a", "한국어"])
BEFORE = st.sampled_from(["", " ", "  ", "\n", "\u3000"])
BEHIND = st.sampled_from(["", "", " ", "\u3000"])
LOGPROBS = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def words(draw: st.DrawFn) -> Word:
    """A word whose tokens are cut anywhere, inside a character too, with white space around it."""
    text = draw(TEXTS)
    data = (draw(BEFORE) + text + draw(BEHIND)).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    tokens = [
        Token(number, data[first:last], draw(LOGPROBS))
        for number, (first, last) in enumerate(pairwise([0, *cuts, len(data)]))
    ]
    return Word(text, 0.0, 0.0, glued=draw(st.booleans()), tokens=tuple(tokens))


SEGMENTS = st.lists(st.lists(words(), min_size=1, max_size=4).map(Segment.of), max_size=4)


def spelt(found: tuple[Logprob, ...]) -> str:
    return b"".join(bytes(one.bytes) for one in found).decode()


@given(SEGMENTS)
def test_the_bytes_are_those_of_the_text(segments: list[Segment]) -> None:
    found = logprobs(segments)
    assert spelt(found) == Transcript(tuple(segments), None, 0.0).text
    assert len(found) == sum(len(segment.tokens) for segment in segments)
    for one in found:
        assert one.token == bytes(one.bytes).decode(errors="replace")


@given(SEGMENTS.filter(bool))
def test_those_of_all_deltas_are_those_of_the_text(segments: list[Segment]) -> None:
    first, *others = segments
    found = logprobs([first])
    assert spelt(found) == openai.delta(first).delta
    for segment in others:
        more = logprobs([segment], follow=True)
        assert spelt(more) == openai.next_delta(segment).delta
        found += more
    assert found == logprobs(segments)


@given(SEGMENTS)
def test_any_recognisers_numbers_are_written(segments: list[Segment]) -> None:
    for one in logprobs(segments):
        assert -9999 <= one.logprob <= 0
        assert math.copysign(1, one.logprob) < 0 or one.logprob == 0


@pytest.mark.parametrize("number", [0.0, -0.0, -1e-9, 1e-9])
def test_what_is_certain_has_no_sign(number: float) -> None:
    (one,) = logprobs([Segment.of([Word("yes", 0, 0, tokens=(Token(1, b" yes", number),))])])
    assert one.model_dump_json() == '{"token":"yes","bytes":[121,101,115],"logprob":0.0}'


def test_half_characters_are_told_by_their_bytes() -> None:
    halves = (Token(1, b" caf\xc3", -0.5), Token(2, b"\xa9", -0.25))
    found = logprobs([Segment.of([Word("café", 0, 0, tokens=halves)])])
    assert [(one.token, one.bytes) for one in found] == [
        ("caf\ufffd", tuple(b"caf\xc3")),
        ("\ufffd", (0xA9,)),
    ]


def test_a_recogniser_without_tokens_has_none() -> None:
    assert logprobs([Segment.of([Word("one", 0, 0), Word("two", 0, 0)])]) == ()
