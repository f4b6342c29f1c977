"""Properties of every transcript as JSON and in a stream: times in order, deltas that add up."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from reflector_gpu.formats import openai, reflector
from reflector_gpu.pipeline.attribution import attribute
from reflector_gpu.types import SpeakerTurn, Transcript
from tests.formats.transcripts import (
    OFFSETS,
    TIMED,
    TRANSCRIPTS,
    TURNS,
    UNORDERED,
    letters,
    spoken_letters,
)


@given(TRANSCRIPTS | UNORDERED, OFFSETS)
def test_words_are_in_order_after_rounding(source: Transcript, offset: float) -> None:
    words = reflector.transcript(source, offset=offset, spaces="none").words
    assert [word.word for word in words] == [word.text for word in source.words]
    for word in words:
        assert word.start <= word.end
        assert {round(word.start, 2), round(word.end, 2)} == {word.start, word.end}
    for word, following in pairwise(words):
        assert word.end <= following.start


@given(TRANSCRIPTS, OFFSETS)
def test_rounding_moves_no_word_that_was_in_order(source: Transcript, offset: float) -> None:
    for word, given_word in zip(
        reflector.transcript(source, offset=offset).words, source.words, strict=True
    ):
        assert abs(word.start - given_word.start - offset) < 0.00501
        assert abs(word.end - given_word.end - offset) < 0.00501


@given(TRANSCRIPTS)
def test_deltas_spell_the_text_and_give_its_words(source: Transcript) -> None:
    first, rest = source.segments[:1], source.segments[1:]
    events = [*map(openai.delta, first), *map(openai.next_delta, rest)]
    assert "".join(event.delta for event in events) == openai.done(source).text == source.text
    words = [word for event in events for word in event.words]
    assert tuple(words) == reflector.transcript(source, spaces="none").words


@given(TIMED)
def test_joined_words_are_the_text(source: Transcript) -> None:
    verbose = openai.verbose_json(source, ("word",))
    file, named = reflector.transcript(source), reflector.transcribe(source)
    assert "".join(word.word for word in file.words).strip() == source.text
    assert "".join(word.word for word in verbose.words or ()).strip() == source.text
    assert "".join(word.text for word in named.words).strip() == source.text


@given(TRANSCRIPTS, TURNS)
def test_deltas_name_a_segment_that_begins_as_they_do(
    source: Transcript, turns: list[SpeakerTurn]
) -> None:
    told = {event.id: event for event in openai.segment_events(attribute(source.segments, turns))}
    names = [openai.segment_id(number) for number in range(len(source.segments))]
    for name, segment in zip(names, source.segments, strict=True):
        assert segment.text.startswith(told[name].text)
        others = [event for other, event in told.items() if other.startswith(f"{name}_")]
        assert letters(segment.text) == letters("".join(e.text for e in [told[name], *others]))


@given(TRANSCRIPTS)
def test_diarized_json_holds_every_word(source: Transcript) -> None:
    text = "".join(segment.text for segment in openai.diarized_json(source).segments)
    assert letters(text) == spoken_letters(source)
