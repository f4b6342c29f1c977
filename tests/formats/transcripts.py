"""Transcripts of every kind, for the tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

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


def letters(text: str) -> str:
    return "".join(text.split())


def spoken_letters(source: Transcript) -> str:
    return "".join(
        letters("".join(word.text for word in segment.words) or segment.text)
        for segment in source.segments
    )
