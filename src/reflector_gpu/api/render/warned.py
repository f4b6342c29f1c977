"""What an answer says about audio that it has no words for."""

from __future__ import annotations

from reflector_gpu.api.render.schemas import Warnings
from reflector_gpu.api.render.words import seconds
from reflector_gpu.types import Transcript

HEADER = "X-Reflector-Warnings"
"""The header with the same JSON, for the formats that have no place for it."""

_MOST_IN_HEADER = 20


def warnings(transcript: Transcript, offset: float = 0.0) -> Warnings | None:
    """None: there is nothing to warn of. ``offset`` is added to every time."""
    if not transcript.unheard:
        return None
    spans = ((seconds(start, offset), seconds(end, offset)) for start, end in transcript.unheard)
    return Warnings(unheard=tuple(spans))


def headers(transcript: Transcript, offset: float = 0.0) -> dict[str, str]:
    """The header of an answer; of many stretches it has the first ones."""
    found = warnings(transcript, offset)
    if found is None:
        return {}
    return {HEADER: Warnings(unheard=found.unheard[:_MOST_IN_HEADER]).model_dump_json()}
