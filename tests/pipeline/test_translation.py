"""Text cut for a translator and joined again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence

import pytest
import sentencex
from hypothesis import example, given
from hypothesis import strategies as st

from reflector_gpu.errors import EngineFailed
from reflector_gpu.pipeline.transcription import Part, collect
from reflector_gpu.pipeline.translation import (
    Splitting,
    in_translation,
    pieces,
    translate,
    with_translations,
)
from reflector_gpu.types import Segment, Transcript, Word

SENTENCES = Splitting("en", sentences=True, longest=400)
LINES = Splitting("en", sentences=False, longest=400)
MARKS = 'aZ é日本。！？.,;: \t\n\r\u00a0\u2028\u3000!?"()'


def told(text: str, splitting: Splitting = SENTENCES) -> list[str]:
    """What a translator would be given."""
    return [piece for _, piece in pieces(text, splitting)]


async def echo(text: str) -> str:
    return text


def upper(text: str, splitting: Splitting = SENTENCES) -> str:
    async def submit(piece: str) -> str:
        return piece.upper()

    return asyncio.run(translate([text], splitting, submit, ahead=4))[0]


def test_a_translator_gets_one_sentence_at_a_time() -> None:
    text = "Dr. Smith is here. It costs 3.5 million!\n\n  Really?  Yes"
    assert told(text) == ["Dr. Smith is here.", "It costs 3.5 million!", "Really?", "Yes"]
    assert told("你好。再见！", Splitting("zh", sentences=True, longest=400)) == [
        "你好。",
        "再见！",
    ]


def test_or_one_line_if_it_can_tell_sentences_itself() -> None:
    assert told("One. Two.\nThree.", LINES) == ["One. Two.", "Three."]


def test_white_space_stays() -> None:
    text = "  Hello there.   How are you?\r\n\r\n\tFine.\n"
    assert upper(text) == "  HELLO THERE.   HOW ARE YOU?\r\n\r\n\tFINE.\n"


def test_what_has_no_letters_is_not_sent() -> None:
    sent: list[str] = []

    async def submit(text: str) -> str:
        sent.append(text)
        return "something"

    text = "12:30\n---\n***\nHello.\n🎉"
    found = asyncio.run(translate([text], SENTENCES, submit, ahead=2))
    assert sent == ["Hello."]
    assert found == ["12:30\n---\n***\nsomething\n🎉"]


def test_sentences_that_ran_on_get_a_space_in_a_script_that_has_spaces() -> None:
    async def submit(text: str) -> str:
        return {"你好。": "Hello.", "再见！": "Bye!"}[text]

    chinese = Splitting("zh", sentences=True, longest=400)
    assert asyncio.run(translate(["你好。再见！"], chinese, submit, ahead=2)) == ["Hello. Bye!"]


@given(st.text(MARKS, max_size=200), st.integers(1, 40), st.booleans())
@example("Z\xa0.;\u3000Z", 40, True)  # the library that tells sentences apart panics
def test_nothing_is_lost_and_nothing_is_too_long(text: str, longest: int, sentences: bool) -> None:
    splitting = Splitting("en", sentences, longest)
    assert asyncio.run(translate([text], splitting, echo, ahead=3)) == [text]
    for start, piece in pieces(text, splitting):
        assert len(piece) <= longest
        assert piece == piece.strip()
        assert text[start : start + len(piece)] == piece


def test_long_sentences_are_cut_where_it_hurts_least() -> None:
    splitting = Splitting("en", sentences=True, longest=20)
    assert told("one two three, four five six seven", splitting) == [
        "one two three,",
        "four five six seven",
    ]
    assert told("one two three four five six", splitting) == ["one two three four", "five six"]
    assert told("a" * 25, splitting) == ["a" * 20, "a" * 5]


def test_a_sentence_is_whole_wherever_it_stands_in_a_long_line() -> None:
    known = [f"Sentence {'very ' * (i % 9)}{i} is said." for i in range(400)]
    assert told(" ".join(known)) == known


@given(st.text(MARKS, min_size=1, max_size=40), st.integers(2000, 9000), st.integers(1, 900))
def test_nothing_is_lost_of_a_long_line(text: str, length: int, longest: int) -> None:
    line = (text * length)[:length]
    splitting = Splitting("en", sentences=True, longest=longest)
    assert asyncio.run(translate([line], splitting, echo, ahead=3)) == [line]
    assert max(map(len, told(line, splitting)), default=0) <= longest


@pytest.mark.parametrize("text", ["あ。", "«", "Yes. ", "a, "])
def test_a_long_line_is_split_in_parts_and_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    segment, lengths, threads = sentencex.segment, [], set()

    def watched(language: str, line: str) -> list[str]:
        lengths.append(len(line))
        threads.add(threading.get_ident())
        found: list[str] = segment(language, line)
        return found

    monkeypatch.setattr(sentencex, "segment", watched)
    line = text * (50_000 // len(text))
    assert asyncio.run(translate([line], SENTENCES, echo, ahead=8)) == [line]
    assert max(lengths) <= 2000
    assert sum(lengths) < 5 * len(line)
    assert threading.get_ident() not in threads


def test_many_lines_take_no_more_tasks_than_are_in_work() -> None:
    tasks: list[int] = []

    async def submit(text: str) -> str:
        tasks.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        return text

    asyncio.run(translate(["a\n" * 200], SENTENCES, submit, ahead=3))
    assert len(tasks) == 200
    assert max(tasks) == 3 + 1


def test_no_more_is_in_work_than_was_allowed() -> None:
    at_once: list[int] = [0, 0]

    async def submit(text: str) -> str:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0)
        at_once[0] -= 1
        return text

    asyncio.run(translate(["One. " * 50], SENTENCES, submit, ahead=3))
    assert at_once == [0, 3]


def test_a_failure_ends_the_rest() -> None:
    ended: list[str] = []

    async def submit(text: str) -> str:
        if text == "Bad.":
            raise EngineFailed("no")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(text)
        return text

    with pytest.raises(EngineFailed):
        asyncio.run(translate(["Good.", "Bad.", "Late."], SENTENCES, submit, ahead=2))
    assert "Good." in ended


# Transcripts

SPOKEN = (
    Segment.of([Word("Hello", 0.0, 0.5), Word("all.", 0.5, 1.0)]),
    Segment.of([Word("Bye.", 2.0, 2.5)]),
)


def translated(parts: Sequence[Part], language: str | None) -> tuple[Transcript, list[str | None]]:
    asked: list[str | None] = []

    async def translate_all(texts: Sequence[str], spoken: str | None) -> Sequence[str]:
        asked.append(spoken)
        return [text.upper() for text in texts]

    async def run() -> Transcript:
        async def given() -> AsyncGenerator[Part, None]:
            for part in parts:
                yield part

        return await collect(with_translations(given(), language, translate_all))

    return asyncio.run(run()), asked


PARTS = (
    Part(SPOKEN[:1], 1.0, "fr"),
    Part(SPOKEN[1:], 2.5, "fr"),
    Part((), 3.0, duration=3.0),
)


def test_every_segment_is_translated_from_the_language_of_the_transcript() -> None:
    transcript, asked = translated(PARTS, None)
    assert [s.translation for s in transcript.segments] == ["HELLO ALL.", "BYE."]
    assert transcript.text == "Hello all. Bye."
    assert transcript.translation == "HELLO ALL. BYE."
    assert asked == ["fr"]
    assert translated(PARTS, "de")[1] == ["de"]


def test_segments_of_speakers_are_translated_as_they_are_cut() -> None:
    cut = tuple(Segment.of([word]) for segment in SPOKEN for word in segment.words)
    transcript, _ = translated([*PARTS[:2], Part((), 3.0, duration=3.0, attributed=cut)], None)
    assert [s.translation for s in transcript.segments] == ["HELLO", "ALL.", "BYE."]


def test_a_transcript_in_translation_has_times_and_no_words() -> None:
    transcript, _ = translated(PARTS, None)
    shown = in_translation(transcript)
    assert shown.text == "HELLO ALL. BYE."
    assert shown.words == ()
    assert [(s.start, s.end) for s in shown.segments] == [(0.0, 1.0), (2.0, 2.5)]
    plain = Transcript(SPOKEN, "en", 3.0)
    assert in_translation(plain) is plain
