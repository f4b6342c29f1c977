"""Properties of every transcript: times in order, deltas that add up, readable cues."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.formats import openai, reflector
from reflector_gpu.formats.cues import MAX_SECONDS, cues, labelled_cues
from reflector_gpu.formats.subtitles import srt, vtt
from reflector_gpu.pipeline.attribution import attribute
from reflector_gpu.sentences import PAUSE
from reflector_gpu.types import Segment, SpeakerTurn, Transcript, Word

TEXTS = (
    st.sampled_from(["a", "Hello,", "world.", "Dr.", "J.", "3.5", "42", "don't", '"Yes!"', "…"])
    | st.sampled_from(["你", "好。", "，", "ー", "한국어", "é", "&", "<b>", "-->", "-", "\u200d"])
    | st.sampled_from(["one two", " ", "a\n\nb", "word " * 30, "你好。再见，" * 9])
    | st.sampled_from(["n" * 41, "n" * 43, "n" * 100, "é" * 90, "你" * 60])
)
SPEAKERS = st.sampled_from([None, None, None, "Anna", "Dr. Bob", "N" * 50])
LENGTHS = st.sampled_from([0.0, 0.001, 0.004, 0.3, 1.0, 12.0]) | st.floats(0.0, 2.0)
GAPS = st.sampled_from([0.0, 0.0, 0.05, 0.59, 0.61, 4.0]) | st.floats(0.0, 1.0)
OFFSETS = st.just(0.0) | st.floats(-20.0, 4000.0)
SPOKEN = st.tuples(TEXTS, GAPS, LENGTHS, SPEAKERS, st.booleans())
LANGUAGES = st.sampled_from([None, "en", "xx"])
ANY_TIME = st.floats(-100.0, 10_000.0)
TURNS = st.lists(
    st.builds(SpeakerTurn, st.floats(0, 20), st.floats(20, 40), st.integers(0, 3)), max_size=6
).map(lambda found: sorted(found, key=lambda turn: turn.start))
ANY_WORDS = st.lists(st.builds(Word, st.just("x"), ANY_TIME, ANY_TIME), min_size=1, max_size=8)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Transcripts as the pipeline makes them: times in order, nothing else taken for granted."""
    now, segments = 0.0, []
    for spoken in draw(st.lists(st.lists(SPOKEN, min_size=1, max_size=8), max_size=4)):
        words = []
        for text, gap, length, speaker, glued in spoken:
            start, now = now + gap, now + gap + length
            words.append(Word(text, start, now, speaker=speaker, glued=glued))
        segment = Segment.of(words)
        if spoken[0][-1]:  # word times off
            segment = replace(segment, words=(), speaker=spoken[0][3])
        segments.append(segment)
    return Transcript(tuple(segments), draw(LANGUAGES), now + draw(GAPS))


TRANSCRIPTS = transcripts()
TIMED = TRANSCRIPTS.filter(
    lambda source: all(
        segment.words and all(word.text == word.text.strip() != "" for word in segment.words)
        for segment in source.segments
    )
)
"""Transcripts that have all of their text in words, without spaces, as those of our engines."""
UNORDERED = st.builds(lambda words: Transcript((Segment.of(words),), None, 1.0), ANY_WORDS)


@dataclass(frozen=True)
class Block:
    start: int
    end: int
    lines: tuple[str, ...]


def read_srt(content: str) -> list[Block]:
    """A SubRip reader that takes nothing but the strict form."""
    blocks = []
    for number, block in enumerate(content.removesuffix("\n").split("\n\n") if content else [], 1):
        index, timing, *lines = block.split("\n")
        assert index == str(number)
        clock = r"(\d\d+):([0-5]\d):([0-5]\d),(\d{3})"
        match = re.fullmatch(f"{clock} --> {clock}", timing)
        assert match
        h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, match.groups())
        start = ((h1 * 60 + m1) * 60 + s1) * 1000 + ms1
        end = ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
        blocks.append(Block(start, end, tuple(lines)))
    return blocks


def letters(text: str) -> str:
    return "".join(text.split())


def spoken_letters(source: Transcript) -> str:
    return "".join(
        letters("".join(word.text for word in segment.words) or segment.text)
        for segment in source.segments
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


@given(TRANSCRIPTS, OFFSETS)
def test_cues_hold_every_word_once_and_can_be_read(source: Transcript, offset: float) -> None:
    made = cues(source, offset=offset)
    assert letters("".join(line for cue in made for line in cue.lines)) == spoken_letters(source)
    for cue in [*made, *labelled_cues(source, offset=offset)]:
        assert 1 <= len(cue.lines) <= 2
        assert all(line == line.strip() and 1 <= len(line) <= 42 for line in cue.lines)
        assert 0 <= cue.start < cue.end <= cue.start + MAX_SECONDS * 1000


@given(TRANSCRIPTS, OFFSETS)
def test_cues_are_in_order_and_never_overlap(source: Transcript, offset: float) -> None:
    for made in (cues(source, offset=offset), labelled_cues(source, offset=offset)):
        assert all(cue.end <= following.start for cue, following in pairwise(made))


@given(ANY_WORDS)
def test_words_out_of_order_still_make_cues_in_order(words: list[Word]) -> None:
    made = cues(Transcript((Segment.of(words),), None, 1.0))
    assert sum(len("".join(cue.lines).replace(" ", "")) for cue in made) == len(words)
    assert all(cue.start < cue.end for cue in made)
    assert all(cue.end <= following.start for cue, following in pairwise(made))


@given(st.lists(st.tuples(GAPS, LENGTHS, SPEAKERS), max_size=30))
def test_a_cue_has_one_speaker_and_no_pause(spoken: list[tuple[float, float, str | None]]) -> None:
    now, words = 0.0, []
    for number, (gap, length, speaker) in enumerate(spoken):
        start, now = now + gap, now + gap + length
        words.append(Word(f"{number}", start, now, speaker=speaker or "A"))
    for cue in cues(Transcript((Segment.of(words),) if words else (), None, now)):
        shown = [words[int(text)] for line in cue.lines for text in line.split()]
        assert {word.speaker for word in shown} == {cue.speaker}
        assert all(after.start - before.end < PAUSE for before, after in pairwise(shown))


@given(TRANSCRIPTS, OFFSETS)
def test_srt_reads_back(source: Transcript, offset: float) -> None:
    blocks = read_srt(srt(source, offset=offset))
    assert blocks == [
        Block(cue.start, cue.end, cue.lines) for cue in labelled_cues(source, offset=offset)
    ]


@given(TRANSCRIPTS)
def test_vtt_is_well_formed_and_says_the_same(source: Transcript) -> None:
    content = vtt(source)
    assert content.startswith("WEBVTT\n\n")
    blocks = content.removeprefix("WEBVTT\n\n").removesuffix("\n").split("\n\n")
    spoken = []
    for block in blocks if spoken_letters(source) else []:
        timing, *lines = block.split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", timing)
        payload = re.sub(r"\A<v [^<>\n]+>", "", "\n".join(lines))
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", payload)
        spoken.append(payload)
    plain = "".join(spoken).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert letters(plain) == spoken_letters(source)


@pytest.mark.slow
def test_a_day_of_meetings_is_written_whole() -> None:
    words = [
        Word("word." if n % 12 == 11 else "word", n * 0.4, n * 0.4 + 0.3) for n in range(30_000)
    ]
    source = Transcript((Segment.of(words),), "en", 12_000.0)
    told = reflector.file(source, "day.wav").words
    assert [(word.start, word.end) for word in told] == [
        (round(word.start, 2), round(word.end, 2)) for word in words
    ]
    blocks = read_srt(srt(source))
    assert letters("".join(line for block in blocks for line in block.lines)) == spoken_letters(
        source
    )
    assert blocks[-1].end == pytest.approx(1000 * words[-1].end, abs=1)
