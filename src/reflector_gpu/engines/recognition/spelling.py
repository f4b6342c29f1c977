"""Turns tokens into text one by one: whole characters, and nothing after a stop sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HALF = "\ufffd"  # what the bytes of an unfinished character decode to


class Spelling:
    """The text of one answer. `add` tokens, then `finish`."""

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        """``decode`` turns tokens into text, and may treat the first ones differently."""
        self._decode = decode
        self._stop = [text for text in stop if text]
        self._tokens: list[int] = []
        self._done = 0  # tokens whose text has been returned
        self._before = 0  # from here on they are decoded again, as context for the next ones
        self._held = ""  # may begin a stop sequence
        self.text = ""
        self.stopped = False
        """A stop sequence has come."""

    def add(self, token: int) -> str:
        """Take the next token. The result is the text that it has made certain."""
        self._tokens.append(token)
        known = self._decode(self._tokens[self._before : self._done])
        grown = self._decode(self._tokens[self._before :])
        if len(grown) <= len(known) or grown.endswith(_HALF):
            return ""
        self._before, self._done = self._done, len(self._tokens)
        return self._spell(grown[len(known) :])

    def finish(self) -> str:
        """The rest of the text, without an unfinished character at its end."""
        known = self._decode(self._tokens[self._before : self._done])
        grown = self._decode(self._tokens[self._before :]).rstrip(_HALF)
        certain = self._spell(grown[len(known) :])
        self._before = self._done = len(self._tokens)
        rest, self._held = self._held, ""
        self.text += rest
        return certain + rest

    def _spell(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if found:
            certain, self._held, self.stopped = self._held[: min(found)], "", True
        else:
            sure = len(self._held) - self._suspicious()
            certain, self._held = self._held[:sure], self._held[sure:]
        self.text += certain
        return certain

    def _suspicious(self) -> int:
        """How many characters at the end may be the beginning of a stop sequence."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0
