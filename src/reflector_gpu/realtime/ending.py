"""Judges by its words whether what somebody has said so far is a whole sentence."""

from __future__ import annotations

from collections.abc import Sequence

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


def is_whole(words: Sequence[Word], spoken: float) -> bool:
    """Whether ``words`` are a whole sentence, and all of what was said in ``spoken`` seconds."""
    if not words or words[-1].end < spoken - _LATE:
        return False
    text = words[-1].text
    core = text.rstrip(CLOSERS)
    if core.endswith(_TRAILING_OFF) or core.strip(".!?").casefold() in _UNFINISHED:
        return core.endswith(("?", "!"))
    return ends_sentence(text, "")
