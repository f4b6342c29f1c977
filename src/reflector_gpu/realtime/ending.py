"""Judges by its words whether what somebody has said so far is a whole sentence."""

from __future__ import annotations

from collections.abc import Container, Sequence

from reflector_gpu.sentences import CLOSERS, ends_sentence
from reflector_gpu.types import Word

_LATE = 0.6
"""Seconds before the end of the speech in which there is room for another word. If there is none
yet, the recogniser has not heard the end."""

_TRAILING_OFF = ("...", "…", "-", "–", "—", ",")

_UNFINISHED = frozenset(
    # Somebody who says one of these last goes on. Recognisers put a full stop even there.
    (
        "a an and as at because but by for from if in is like my of on or so that the then to um "
        "uh erm hmm well when where which who with your "
        "aber als auf das dass dem den der die ein eine für im ist mit oder und von weil wenn zu "
        "äh ähm "
        "à au avec car dans de des donc du en et euh la le les mais ou par pour que qui si sur un "
        "une al como con cuando del el es este las los o para pero por porque y"
    ).split()
)

_NEVER_LAST = {
    "en": frozenset({"a", "an", "the", "and", "or"}),
    "de": frozenset({"und", "oder"}),
    "fr": frozenset({"et", "ou", "les"}),
    "es": frozenset({"y", "o", "el", "los"}),
}
"""Words that no sentence ends with, by language. Many of `_UNFINISHED` do end one: "Come on."."""


def is_whole(words: Sequence[Word], spoken: float) -> bool:
    """Whether ``words`` are a whole sentence, and all of what was said in ``spoken`` seconds."""
    if not _are_all(words, spoken) or _goes_on(words[-1].text):
        return False
    return ends_sentence(words[-1].text, "")


def is_unfinished(words: Sequence[Word], spoken: float, language: str | None) -> bool:
    """Whether ``words`` are all of what was said in ``spoken`` seconds, and nobody ends with the
    last of them."""
    return _are_all(words, spoken) and _goes_on(
        words[-1].text, _NEVER_LAST.get(language or "", frozenset())
    )


def _are_all(words: Sequence[Word], spoken: float) -> bool:
    return bool(words) and words[-1].end >= spoken - _LATE


def _goes_on(text: str, unfinished: Container[str] = _UNFINISHED) -> bool:
    core = text.rstrip(CLOSERS)
    trails_off = core.endswith(_TRAILING_OFF) or core.strip(".!?").casefold() in unfinished
    return trails_off and not core.endswith(("?", "!"))
