"""Where sentences end."""

from __future__ import annotations

import pytest

from reflector_gpu.sentences import PAUSE, sentences
from reflector_gpu.types import Word, join_words


def texts(*words: str) -> list[str]:
    """The sentences of ``words``; those that begin with ``+`` are glued to the one before."""
    spoken = [
        Word(text.removeprefix("+"), i, i + 1, glued=text.startswith("+"))
        for i, text in enumerate(words)
    ]
    return [join_words(sentence) for sentence in sentences(spoken)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("One two. Three? Four", ["One two.", "Three?", "Four"]),
        ('He said "Go." Then nothing.', ['He said "Go."', "Then nothing."]),
        ("Dr. Who met J. Doe", ["Dr. Who met J. Doe"]),
        ("at 5 p.m. on Monday", ["at 5 p.m. on Monday"]),
        ("about 3. +5 percent. Yes", ["about 3.5 percent.", "Yes"]),
        ("好。 +你 +好", ["好。", "你好"]),
        ("好 +。 +你", ["好。", "你"]),
        ("نعم؟ لا", ["نعم؟", "لا"]),
        ("हाँ। नहीं", ["हाँ।", "नहीं"]),
        ("", []),
    ],
)
def test_full_stops_end_sentences(words: str, expected: list[str]) -> None:
    assert texts(*words.split()) == expected


@pytest.mark.parametrize(("gap", "count"), [(PAUSE - 0.1, 1), (PAUSE + 0.1, 2)])
def test_a_pause_ends_one_that_has_no_full_stop(gap: float, count: int) -> None:
    words = [Word("so", 0, 1), Word("then", 1 + gap, 2 + gap)]
    assert len(list(sentences(words))) == count
