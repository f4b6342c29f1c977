"""Whose words are whose."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.pipeline.attribution import BREATH, attribute, label
from reflector_gpu.sentences import PAUSE
from reflector_gpu.types import Segment, SpeakerTurn, Word


def said(text: str, *, begin: float = 0.0, gaps: dict[int, float] | None = None) -> Segment:
    """A segment of one word a second, each half a second long; ``gaps`` before some of them."""
    words: list[Word] = []
    at = begin
    for number, word in enumerate(text.split()):
        at += (gaps or {}).get(number, 0.0)
        words.append(Word(word, at, at + 0.9))
        at += 1
    return Segment.of(words)


def turns(spec: str) -> list[SpeakerTurn]:
    """``0-3:0 3-5:1`` are two turns."""
    found = []
    for part in spec.split():
        span, _, speaker = part.partition(":")
        start, end = re.fullmatch(r"(-?[\d.]+)-(-?[\d.]+)", span).groups()  # type: ignore[union-attr]  # all match
        found.append(SpeakerTurn(float(start), float(end), int(speaker)))
    return found


def dialogue(segment: Segment, spec: str) -> list[str]:
    return [f"{part.speaker}: {part.text}" for part in attribute([segment], turns(spec))]


@pytest.mark.parametrize(
    ("text", "spec", "expected"),
    [
        ("good morning all", "0-9:0", ["A: good morning all"]),
        ("how are you? fine thanks.", "0-3:0 3-9:1", ["A: how are you?", "B: fine thanks."]),
        ("how are you? fine thanks.", "0-2.8:0 3.1-9:1", ["A: how are you?", "B: fine thanks."]),
        # The boundary runs through a word: it goes where most of it is.
        ("one two three four", "0-1.6:0 1.6-9:1", ["A: one two", "B: three four"]),
        ("one two three four", "0-2.3:0 2.3-9:1", ["A: one two", "B: three four"]),
        # A stray word at the end of a sentence, at its beginning, in its middle.
        ("how are you? fine thanks.", "0-2:0 2-9:1", ["A: how are you?", "B: fine thanks."]),
        ("are you? fine thanks all.", "0-3:0 3-9:1", ["A: are you?", "B: fine thanks all."]),
        ("we go on to the next", "0-2:0 2-3:1 3-9:0", ["A: we go on to the next"]),
        # A sentence of one word is no stray.
        ("so? Yes. Oh good.", "0-1:0 1-2:1 2-9:0", ["A: so?", "B: Yes.", "A: Oh good."]),
        # Two words are no stray either.
        ("we go on to the next", "0-2:0 2-4:1 4-9:0", ["A: we go", "B: on to", "A: the next"]),
        # Single words of several speakers: none of them is more certain than its neighbours.
        ("so yes oh", "0-1:0 1-2:1 2-9:0", ["A: so", "B: yes", "A: oh"]),
        # Outside of all turns: the nearest.
        ("well hello there", "2-3:5", ["F: well hello there"]),
        ("well hello there", "0-0.5:1 50-60:2", ["B: well hello there"]),
        ("well hello there", "40-50:2", ["C: well hello there"]),
        ("well hello there", "-9--1:0 -5--4:1 50-60:2", ["A: well hello there"]),
        # Both speak: whoever does for longer.
        ("one two three four", "0-4:0 1.5-2:1", ["A: one two three four"]),
        ("one", "0-0.9:3 0-0.9:1", ["D: one"]),
    ],
)  # fmt: skip
def test_words_go_to_who_said_them(text: str, spec: str, expected: list[str]) -> None:
    assert dialogue(said(text), spec) == expected


def test_a_pause_ends_a_sentence_that_has_no_full_stop() -> None:
    with_pause = said("shall we yes", gaps={2: PAUSE})
    assert dialogue(with_pause, "0-2:0 2.5-9:1") == ["A: shall we", "B: yes"]
    assert dialogue(said("shall we yes"), "0-2:0 2-9:1") == ["A: shall we yes"]


def test_a_word_that_is_thrown_in_is_no_stray() -> None:
    at_the_end = said("we go on yes", gaps={3: BREATH})
    assert dialogue(at_the_end, "0-3:0 3.1-5:1") == ["A: we go on", "B: yes"]
    between = said("we go on yes and on", gaps={3: BREATH, 4: BREATH})
    assert dialogue(between, "0-3:0 3-4.4:1 4.4-9:0") == ["A: we go on", "B: yes", "A: and on"]
    ahead = said("yes we go on", gaps={1: BREATH})
    assert dialogue(ahead, "0-1:1 1-9:0") == ["B: yes", "A: we go on"]


def test_it_is_one_if_it_does_not_stand_apart_or_reaches_out_of_its_turn() -> None:
    hardly = said("we go on yes", gaps={3: BREATH - 0.11})
    assert dialogue(hardly, "0-3:0 3.1-5:1") == ["A: we go on yes"]
    on_one_side = said("we go on yes and on", gaps={3: BREATH})
    assert dialogue(on_one_side, "0-3:0 3-4.4:1 4.4-9:0") == ["A: we go on yes and on"]
    reaching = said("we go on yes", gaps={3: BREATH})
    assert dialogue(reaching, "0-3.5:0 3.5-5:1") == ["A: we go on yes"]


def test_without_turns_nothing_is_changed() -> None:
    segment = said("good morning")
    assert list(attribute([segment], [])) == [segment]


def test_a_segment_without_words_has_a_speaker_as_well() -> None:
    (found,) = attribute([Segment(4, 6, "(laughter)")], turns("0-3:0 3-9:1"))
    assert (found.text, found.speaker) == ("(laughter)", "B")


def test_a_long_turn_counts_though_shorter_ones_began_after_it() -> None:
    assert dialogue(said("still me", begin=50), "0-60:0 1-2:1 3-4:2") == ["A: still me"]


def test_labels_never_repeat() -> None:
    labels = [label(number) for number in range(2_000)]
    assert labels[:3] == ["A", "B", "C"]
    assert (labels[25], labels[26], labels[27], labels[702]) == ("Z", "AA", "AB", "AAA")
    assert len(set(labels)) == len(labels)


TIMES = st.floats(0, 100, allow_subnormal=False)
TURNS = st.lists(
    st.builds(lambda start, length, who: SpeakerTurn(start, start + length, who),
              TIMES, st.floats(0.01, 20), st.integers(0, 4)), min_size=1, max_size=12,
).map(lambda found: sorted(found, key=lambda turn: turn.start))  # fmt: skip
SPOKEN = st.lists(
    st.builds(lambda text, start, length: Word(text, start, start + length),
              st.sampled_from(["a", "b.", "c?"]), TIMES, st.floats(0, 2)), min_size=1, max_size=12,
).map(lambda found: Segment.of(sorted(found, key=lambda word: word.start)))  # fmt: skip
SEGMENTS = st.lists(SPOKEN, max_size=4)


@given(SEGMENTS, TURNS)
def test_no_word_is_lost_moved_or_without_a_speaker(
    segments: list[Segment], found: list[SpeakerTurn]
) -> None:
    parts = list(attribute(segments, found))
    before = [(w.text, w.start, w.end) for segment in segments for w in segment.words]
    after = [(w.text, w.start, w.end) for part in parts for w in part.words]
    assert after == before
    known = {label(turn.speaker) for turn in found}
    assert {w.speaker for part in parts for w in part.words} <= known
    for part in parts:
        assert {w.speaker for w in part.words} == {part.speaker}


@given(TIMES, st.floats(0.01, 5), TURNS)
def test_a_word_is_the_speakers_who_holds_most_of_it(
    start: float, length: float, found: list[SpeakerTurn]
) -> None:
    word = Word("x.", start, start + length)
    (part,) = attribute([Segment.of([word])], found)

    def held(turn: SpeakerTurn) -> float:
        return min(turn.end, word.end) - max(turn.start, word.start)

    most = max(map(held, found))
    if most > 0:
        assert part.speaker in {label(turn.speaker) for turn in found if held(turn) == most}


def test_neighbouring_parts_of_a_segment_have_different_speakers() -> None:
    parts = list(attribute([said("a b c d e f g h")], turns("0-3:0 3-5:1 5-9:0")))
    assert all(one.speaker != other.speaker for one, other in pairwise(parts))
