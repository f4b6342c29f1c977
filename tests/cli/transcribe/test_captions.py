"""Live words on a terminal, and in a pipe."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.cli.captions import Captions, Lines
from reflector_gpu.live.base import Heard
from reflector_gpu.types import Word


def said(text: str) -> tuple[Word, ...]:
    return tuple(Word(one, 0.0, 0.0) for one in text.split())


def shown(written: str) -> str:
    """What a terminal shows of ``written``: it knows dim text, and how to go back and erase."""
    line, lines = "", []
    for part in re.split(r"(\x1b\[\d*[A-Za-z]|\n)", written):
        if part == "\n":
            lines.append(line)
            line = ""
        elif part.endswith("D") and part.startswith("\x1b"):
            line = line[: -int(part[2:-1])]
        elif not part.startswith("\x1b"):
            line += part
    return "\n".join([*lines, line])


def test_settled_words_take_the_place_of_tentative_ones() -> None:
    captions = Captions(40)
    written = captions.of(Heard(tentative=said("we want")))
    assert shown(written) == " we want"
    assert "\x1b[2m we want\x1b[0m" in written
    written += captions.of(Heard(settled=said("We went"), tentative=said("home")))
    assert shown(written) == "We went home"


def test_words_that_are_tentative_at_the_end_stay_on_the_screen() -> None:
    captions = Captions(40)
    written = captions.of(Heard(settled=said("We went"), tentative=said("home"))) + captions.end()
    assert shown(written) == "We went home\n"
    only = Captions(40)
    assert shown(only.of(Heard(tentative=said("we"))) + only.end()) == " we\n"
    assert Captions(40).end() == ""


def test_as_many_tentative_words_are_shown_as_fit_on_the_line() -> None:
    heard = Heard(tentative=said("we want"))
    assert shown(Captions(9).of(heard)) == " we want"
    assert shown(Captions(8).of(heard)) == " want"


TEXTS = st.lists(st.sampled_from("a bb ccc dddd eeeeeeee".split()), max_size=8).map(" ".join)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=10), st.integers(10, 40))
def test_lines_are_never_longer_than_the_terminal(parts: list[tuple[str, str]], width: int) -> None:
    captions = Captions(width)
    written = ""
    for settled, tentative in parts:
        written += captions.of(Heard(said(settled), said(tentative)))
        assert all(len(line) < width for line in shown(written).split("\n"))
    written += captions.of(Heard()) + captions.end()
    assert shown(written).split() == " ".join(settled for settled, _ in parts).split()


def test_a_pipe_gets_settled_words_only_with_a_sentence_on_each_line() -> None:
    lines = Lines()
    written = lines.of(Heard(said("We went home. And"), said("then")))
    assert written == "We went home.\nAnd"
    assert written + lines.of(Heard(said("slept"))) + lines.end() == "We went home.\nAnd slept\n"
