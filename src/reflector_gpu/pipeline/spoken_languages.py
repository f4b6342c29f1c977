"""Decides which language a chunk is in if the recogniser is not sure.

A recogniser may take a short "Ja." for English. Such a chunk gets the language of the chunk before
it, or at the beginning that of the chunk after it. A language that the recogniser is sure of stays.
"""

from __future__ import annotations

from reflector_gpu.types import Recognition

SURE = 0.85
"""Whisper base gives a wrong language up to 0.82 on clips of 0.5 to 6 seconds in German, French
and Spanish, and the right one 0.88 and more from 3 seconds on."""


def sure(found: Recognition) -> bool:
    return found.language is not None and found.certainty >= SURE


class Tongues:
    """The language of the recording so far."""

    def __init__(self) -> None:
        self._last: str | None = None

    def puzzled(self, found: Recognition) -> bool:
        """Whether the language of ``found`` is doubtful, and no chunk before it helps."""
        return self._last is None and _doubtful(found)

    def instead(self, found: Recognition, following: Recognition | None) -> str | None:
        """The language to recognise a chunk in once more; None: ``found`` stands.

        ``following`` is the chunk after it, if that has been heard.
        """
        if sure(found):
            self._last = found.language
            return None
        known = self._last
        if known is None and following is not None and sure(following):
            known = following.language
        return known if _doubtful(found) and known != found.language else None


def _doubtful(found: Recognition) -> bool:
    return bool(found.segments) and found.language is not None and not sure(found)
