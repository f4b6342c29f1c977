"""What the end of a turn looks like."""

from __future__ import annotations

import pytest

from reflector_gpu.realtime.ending import is_unfinished, is_whole
from reflector_gpu.types import Word


def said(text: str) -> list[Word]:
    return [Word(word, 0.5 * n, 0.5 * n + 0.4) for n, word in enumerate(text.split())]


@pytest.mark.parametrize(
    "text", ["I am done.", "Are you?", "What is that?", "Ja, genau!", "はい。", 'He said "no."']
)
def test_a_sentence_is_whole(text: str) -> None:
    words = said(text)
    assert is_whole(words, words[-1].end)


@pytest.mark.parametrize(
    "text",
    [
        "I think",
        "I think...",
        "I think…",
        "Well, um.",
        "And then the.",
        "Ich weiß, dass.",
        "Dr.",
        "",
    ],
)
def test_somebody_who_stops_in_the_middle_goes_on(text: str) -> None:
    words = said(text)
    assert not is_whole(words, words[-1].end if words else 1.0)


@pytest.mark.parametrize(
    ("text", "language", "goes_on"),
    [
        ("And then the.", "en", True),
        ("I think...", "en", True),
        ("First,", None, True),
        ("Ich und", "de", True),
        ("I think", "en", False),  # which nobody knows
        ("Come on.", "en", False),
        ("It went well.", "en", False),
        ("Ich nehme die.", "de", False),
        ("Nous and", "fr", False),
        ("What for?", "en", False),
        ("", "en", False),
    ],
)
def test_some_words_are_never_the_last(text: str, language: str | None, goes_on: bool) -> None:
    words = said(text)
    assert is_unfinished(words, words[-1].end if words else 1.0, language) == goes_on
    assert not is_unfinished(words, words[-1].end + 1.5 if words else 1.0, language)


def test_a_sentence_that_is_not_the_last_one_says_nothing() -> None:
    """The recogniser has not heard yet what was said in the last seconds."""
    words = said("That is one.")
    assert not is_whole(words, words[-1].end + 1.5)


def test_the_last_word_may_end_a_little_before_the_speech() -> None:
    words = said("That is one.")
    assert is_whole(words, words[-1].end + 0.5)
    assert not is_whole(words, words[-1].end + 0.7)
