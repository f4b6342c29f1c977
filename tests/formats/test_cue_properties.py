"""Properties of every transcript as subtitles: readable cues in order, files that read back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.formats import reflector
from reflector_gpu.formats.cues import MAX_SECONDS, cues, labelled_cues
from reflector_gpu.formats.subtitles import srt, vtt
from reflector_gpu.sentences import PAUSE
from reflector_gpu.types import Segment, Transcript, Word
from tests.formats.transcripts import (
    ANY_WORDS,
    GAPS,
    LENGTHS,
    OFFSETS,
    SPEAKERS,
    TRANSCRIPTS,
    letters,
    spoken_letters,
)


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
