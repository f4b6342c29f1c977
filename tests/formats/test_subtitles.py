"""Subtitle files, whole."""

from __future__ import annotations

from reflector_gpu.formats.cues import COLUMNS_PER_SECOND, Cue, cues
from reflector_gpu.formats.subtitles import srt, vtt
from reflector_gpu.types import Segment, Transcript, Word

SECOND_PER_WORD = 0.4


def said(text: str, start: float = 0.0, speaker: str | None = None) -> Segment:
    """``text`` at 0.4 s a word, 0.05 s of it silence."""
    return Segment.of(
        Word(
            word,
            start + number * SECOND_PER_WORD,
            start + (number + 1) * SECOND_PER_WORD - 0.05,
            speaker=speaker,
        )
        for number, word in enumerate(text.split())
    )


def glued(text: str, start: float = 0.0) -> Segment:
    """``text`` at 0.2 s a character, as engines give Chinese."""
    return Segment.of(
        Word(character, start + number * 0.2, start + (number + 1) * 0.2, glued=number > 0)
        for number, character in enumerate(text)
    )


def talk(*segments: Segment, duration: float = 0.0) -> Transcript:
    return Transcript(segments, "en", duration)


def lines(*segments: Segment) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues(talk(*segments))]


def test_srt() -> None:
    source = talk(
        said("Good morning everyone, and thank you for joining us today.", 3600.0),
        said("Let us begin.", 3605.0),
        duration=3700.0,
    )
    assert srt(source) == (
        "1\n"
        "01:00:00,000 --> 01:00:03,950\n"
        "Good morning everyone,\n"
        "and thank you for joining us today.\n"
        "\n"
        "2\n"
        "01:00:05,000 --> 01:00:06,150\n"
        "Let us begin.\n"
    )


def test_vtt() -> None:
    source = talk(
        said("Good morning everyone, and thank you for joining us today."),
        said("Let us begin.", 5.0),
        duration=100 * 3600.0,
    )
    assert vtt(source) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.000 --> 00:00:03.950\n"
        "Good morning everyone,\n"
        "and thank you for joining us today.\n"
        "\n"
        "00:00:05.000 --> 00:00:06.150\n"
        "Let us begin.\n"
    )


def test_speakers_begin_cues_of_their_own() -> None:
    source = talk(
        said("So, we agree.", 0.0, "Anna"),
        said("We do.", 1.2, "Dr. Bob"),
        said("At last.", 4.0, "Dr. Bob"),
        duration=9.0,
    )
    assert srt(source) == (
        "1\n00:00:00,000 --> 00:00:01,150\nAnna: So, we agree.\n\n"
        "2\n00:00:01,200 --> 00:00:02,082\nDr. Bob: We do.\n\n"
        "3\n00:00:04,000 --> 00:00:04,833\nAt last.\n"
    )
    assert vtt(source) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.150\n<v Anna>So, we agree.\n\n"
        "00:00:01.200 --> 00:00:02.033\n<v Dr. Bob>We do.\n\n"
        "00:00:04.000 --> 00:00:04.833\n<v Dr. Bob>At last.\n"
    )


def test_vtt_escapes_text_and_names() -> None:
    source = talk(said("AT&T <b> a --> b", 0.0, "R&D <x>\n\n--> y"), duration=9.0)
    assert vtt(source) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.950\n"
        "<v R&amp;D &lt;x&gt; --&gt; y>AT&amp;T &lt;b&gt; a --&gt; b\n"
    )


def test_nothing_said() -> None:
    for empty in (talk(), talk(Segment(0.0, 1.0, "")), talk(Segment.of([Word(" ", 0, 1)]))):
        assert srt(empty) == ""
        assert vtt(empty) == "WEBVTT\n\n"


def test_offset_shifts_and_stops_at_zero() -> None:
    source = talk(said("One.", 1.0), said("Two.", 3.0), duration=5.0)
    assert srt(source, offset=61.5) == (
        "1\n00:01:02,500 --> 00:01:03,333\nOne.\n\n2\n00:01:04,500 --> 00:01:05,333\nTwo.\n"
    )
    assert vtt(source, offset=-2.5) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:00.001\nOne.\n\n00:00:00.500 --> 00:00:01.333\nTwo.\n"
    )


def test_short_sentences_share_a_cue_and_longer_ones_do_not() -> None:
    assert lines(
        said("Yes. I do. Let us begin with the first point. Here is the second point.")
    ) == [
        ("Yes. I do.",),
        ("Let us begin with the first point.",),
        ("Here is the second point.",),
    ]


def test_long_sentences_are_cut_at_commas_into_even_parts() -> None:
    sentence = (
        "We have a lot to cover: first the budget, which Dr. Smith prepared, then the new "
        "hiring plan, and finally, if there is time left, the summer party."
    )
    assert lines(said(sentence)) == [
        ("We have a lot to cover: first the budget,", "which Dr. Smith prepared,"),
        ("then the new hiring plan, and finally,", "if there is time left, the summer party."),
    ]


def test_a_pause_ends_a_cue_and_a_breath_does_not() -> None:
    breath = [Word("one", 0.0, 0.5), Word("two", 1.05, 1.5)]
    pause = [Word("one", 0.0, 0.5), Word("two", 1.1, 1.5)]
    assert lines(Segment.of(breath)) == [("one two",)]
    assert lines(Segment.of(pause)) == [("one",), ("two",)]


def test_titles_initials_and_small_letters_do_not_end_a_sentence() -> None:
    text = "They met Mr. Jones and J. R. Tolkien, i.e. the author himself, at noon."
    assert lines(said(text)) == [
        ("They met Mr. Jones and J. R. Tolkien,", "i.e. the author himself, at noon.")
    ]


def test_a_brief_cue_stays_as_long_as_it_takes_to_read_but_not_over_the_next() -> None:
    source = talk(Segment.of([Word("No.", 0.0, 0.2)]), said("Why?", 0.9), duration=1.5)
    assert [(cue.start, cue.end) for cue in cues(source)] == [(0, 833), (900, 1500)]
    hurried = Segment.of([Word("x" * 40, 0.0, 0.2)])
    assert cues(talk(hurried, duration=60.0)) == [Cue(0, 1700, ("x" * 40,))]


def test_a_cue_is_gone_after_seven_seconds() -> None:
    endless = Segment.of([Word("Aaaah", 1.0, 60.0)])
    assert cues(talk(endless, duration=60.0)) == [Cue(1000, 8000, ("Aaaah",))]


def test_a_word_wider_than_a_line_is_cut() -> None:
    assert lines(said("a" * 100)) == [("a" * 42, "a" * 42), ("a" * 16,)]
    assert lines(said("a" * 50 + " end.")) == [("a" * 42, "a" * 8 + " end.")]


def test_glued_words_have_no_spaces_and_take_two_columns() -> None:
    text = "今天天气很好，我们一起去公园散步吧。然后回家吃饭，晚上看一部电影，好不好？"
    assert lines(glued(text)) == [
        ("今天天气很好，我们一起去公园散步吧。",),
        ("然后回家吃饭，晚上看一部电影，好不好？",),
    ]
    assert lines(glued("我" * 30)) == [("我" * 15, "我" * 15)]


def test_punctuation_never_begins_a_line() -> None:
    for count in range(15, 25):
        for cue in lines(glued("我" * count + "，" + "你" * (40 - count))):
            assert not any(line.startswith("，") for line in cue)


def test_text_without_word_times_is_spread_over_its_segment() -> None:
    source = talk(
        Segment(10.0, 20.0, "This is the first half, ok. And this is the second!"), duration=30.0
    )
    assert cues(source) == [
        Cue(10000, 15366, ("This is the first half, ok.",)),
        Cue(15366, 20000, ("And this is the second!",)),
    ]
    chinese = talk(Segment(0.0, 4.0, "你好。再见！"), duration=4.0)
    assert cues(chinese) == [Cue(0, 2000, ("你好。",)), Cue(2000, 4000, ("再见！",))]


def test_names_wider_than_a_cue_are_wrapped_like_text() -> None:
    name = f"Sir {'n' * 90}"
    text = srt(talk(said("Hello.", 0.0, name), duration=9.0))
    assert [line for line in text.splitlines() if line[:1] in "SnH" and line] == [
        "Sir",
        "n" * 42,
        "n" * 42,
        "n" * 6 + ": Hello.",
    ]


def test_spaces_count_in_the_reading_speed() -> None:
    """Thirty columns take 1.77 seconds to read, and the silence behind them allows that."""
    words = "do you need any help with that".split()
    spoken = [Word(word, 0.2 * n, 0.2 * n + 0.19) for n, word in enumerate(words)]
    (cue,) = cues(Transcript((Segment.of(spoken),), "en", 10.0))
    assert len(cue.lines[0]) / (cue.end - cue.start) * 1000 <= COLUMNS_PER_SECOND + 0.1
