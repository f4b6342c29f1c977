"""Text that grows token by token is the text of all tokens, cut before a stop sequence."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.spelling import Spelling


def bytes_to_text(tokens: list[int]) -> str:
    """A tokenizer whose tokens are bytes: most characters take several."""
    return bytes(tokens).decode(errors="replace")


def words_to_text(tokens: list[int]) -> str:
    """One that, as SentencePiece does, leaves out the space before the first word."""
    return "".join(f" {'abcdefghij'[token]}" for token in tokens).removeprefix(" ")


def spelt(text: str, stop: tuple[str, ...]) -> tuple[list[str], Spelling]:
    spelling = Spelling(bytes_to_text, stop)
    pieces = [spelling.add(byte) for byte in text.encode()]
    return [*pieces, spelling.finish()], spelling


def cut(text: str, stop: tuple[str, ...]) -> str:
    """``text`` before whatever is complete first, the longest way back."""
    for end in range(1, len(text) + 1):
        found = [text[:end].find(each) for each in stop if each and each in text[:end]]
        if found:
            return text[: min(found)]
    return text


PARTS = ["good\ufffd", "bye\ufffd"]
"""Tokens whose ends may be halves of characters, or mean just that."""

TEXTS = st.text("abä🎉", max_size=12)


@given(TEXTS, st.lists(st.text("abä🎉", min_size=1, max_size=4), max_size=3).map(tuple))
@example("aab", ("ab",))
@example("ababac", ("abac",))
@example("ab", ("abc", "b"))
def test_pieces_spell_the_text_up_to_the_first_stop(text: str, stop: tuple[str, ...]) -> None:
    pieces, spelling = spelt(text, stop)
    assert "".join(pieces) == spelling.text == cut(text, stop)
    assert spelling.stopped == any(each in text for each in stop)
    assert all("\ufffd" not in piece for piece in pieces)


@given(TEXTS)
def test_without_stop_sequences_nothing_is_held_back(text: str) -> None:
    spelling = Spelling(bytes_to_text)
    for number, character in enumerate(text, 1):
        pieces = [spelling.add(byte) for byte in character.encode()]
        assert pieces == [*[""] * (len(pieces) - 1), character]
        assert spelling.text == text[:number]
    assert spelling.finish() == ""


@given(st.lists(st.integers(0, 9), max_size=10))
def test_words_keep_their_spaces(tokens: list[int]) -> None:
    spelling = Spelling(words_to_text)
    pieces = [spelling.add(token) for token in tokens]
    assert "".join(pieces) == words_to_text(tokens)


@pytest.mark.parametrize(
    ("stop", "text"), [((), "good\ufffdbye"), (("bye",), "good\ufffd"), (("goo",), "")]
)
def test_what_comes_with_half_a_character_is_spelt_in_the_end(
    stop: tuple[str, ...], text: str
) -> None:
    spelling = Spelling(lambda tokens: "".join(PARTS[token] for token in tokens), stop)
    pieces = [spelling.add(token) for token in range(len(PARTS))]
    assert "".join([*pieces, spelling.finish()]) == spelling.text == text
    assert spelling.stopped is bool(stop)


@pytest.mark.parametrize("stop", [(), ("",), ("never",)])
def test_an_unfinished_character_at_the_end_is_left_out(stop: tuple[str, ...]) -> None:
    spelling = Spelling(bytes_to_text, stop)
    for byte in "ok 🎉".encode()[:-1]:
        spelling.add(byte)
    spelling.finish()
    assert spelling.text == "ok "
