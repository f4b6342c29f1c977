"""OpenAI's `logprobs`: how likely the recogniser found each token of a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import isnan

from reflector_gpu.formats.schemas import Logprob
from reflector_gpu.types import Segment, Word

LEAST = -9999.0
"""OpenAI's value for a token that is almost impossible. JSON has no infinity."""

_DECIMALS = 6


def logprobs(segments: Sequence[Segment], *, follow: bool = False) -> tuple[Logprob, ...]:
    """The tokens of the text of ``segments``.

    The first has a space if the segments ``follow`` others and are not glued to them.
    """
    words = (word for segment in segments for word in segment.words)
    return tuple(
        Logprob(
            token=piece.decode(errors="replace"),
            bytes=tuple(piece),
            logprob=_logprob(token.logprob),
        )
        for number, word in enumerate(words, start=1 if follow else 0)
        for token, piece in zip(word.tokens, _pieces(word, spaced=number > 0), strict=True)
    )


def _pieces(word: Word, *, spaced: bool) -> Iterator[bytes]:
    """The bytes that each token adds to the text.

    Recognisers also write white space that the text does not show: before it, or twice.
    """
    whole = b"".join(token.data for token in word.tokens)
    text = whole.decode(errors="surrogateescape")
    begin = len(text[: len(text) - len(text.lstrip())].encode())
    end = len(whole) - len(text[len(text.rstrip()) :].encode())
    space = b" " if spaced and not word.glued else b""
    for last, token in zip(accumulate(len(t.data) for t in word.tokens), word.tokens, strict=True):
        yield space + whole[max(begin, last - len(token.data)) : min(end, last)]
        space = b""


def _logprob(value: float) -> float:
    """A finite, rounded logprob, never ``-0.0``."""
    return LEAST if isnan(value) else round(max(LEAST, min(value, 0.0)), _DECIMALS) + 0.0
