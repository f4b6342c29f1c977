"""Words on a terminal while somebody speaks: settled ones firm, tentative ones dim behind them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from reflector_gpu.live.base import Heard
from reflector_gpu.sentences import ends_sentence
from reflector_gpu.types import Word

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Captions:
    """What to write for each `Heard`. Tentative words stay on one line, so that they can be
    overwritten."""

    def __init__(self, columns: int) -> None:
        """``columns`` is the width of the terminal."""
        self._columns = columns
        self._column = 0
        self._tentative = 0  # columns

    def of(self, heard: Heard) -> str:
        """The settled words in place of the tentative ones, and then the new tentative ones."""
        erased = f"\x1b[{self._tentative}D\x1b[K" if self._tentative else ""
        settled = "".join(map(self._placed, heard.settled))
        tentative = _fitting(heard.tentative, self._columns - self._column - 1)
        self._tentative = cell_len(tentative)
        return erased + settled + (f"{_DIM}{tentative}{_PLAIN}" if tentative else "")

    def end(self) -> str:
        """What to write at the end. Words that are still tentative then stay on the screen."""
        return "\n" if self._column or self._tentative else ""

    def _placed(self, word: Word) -> str:
        text = word.spaced if self._column else word.text
        if self._column and self._column + cell_len(text) >= self._columns:
            text = f"\n{word.text}"
            self._column = 0
        self._column += cell_len(text.lstrip("\n"))
        return text


class Lines:
    """The same for files and pipes: settled words alone, a sentence on each line."""

    def __init__(self) -> None:
        self._begun = False

    def of(self, heard: Heard) -> str:
        """The new settled words."""
        found = ""
        for word in heard.settled:
            found += word.spaced if self._begun else word.text
            self._begun = not ends_sentence(word.text, "")
            found += "" if self._begun else "\n"
        return found

    def end(self) -> str:
        """What to write at the end."""
        return "\n" if self._begun else ""


def _fitting(words: Sequence[Word], columns: int) -> str:
    """The last of ``words`` that fit into so many columns."""
    found = ""
    for word in reversed(words):
        if cell_len(word.spaced + found) > columns:
            break
        found = word.spaced + found
    return found
