"""Speaker turns in the formats of pyannote's tools and of servers that use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from pathlib import PurePath

from pydantic import Field

from reflector_gpu.formats import audio_warnings
from reflector_gpu.formats.schemas import Body, Confidence, Similarity, Warned
from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.types import SpeakerTurn

_SPACE = re.compile(r"\s+")


class SpeakerSegment(Body):
    start: float = Field(description="Seconds.", examples=[0.42])
    end: float = Field(description="Seconds.", examples=[2.05])
    speaker: str = Field(
        description="`SPEAKER_00` is who speaks first; or the name of a known speaker.",
        examples=["SPEAKER_00"],
    )
    confidence: Confidence = None
    similarity: Similarity = None


class Overlap(Body):
    """Several people speak at once."""

    start: float = Field(description="Seconds.", examples=[1.85])
    end: float = Field(description="Seconds.", examples=[2.05])
    speakers: tuple[str, ...] = Field(examples=[["SPEAKER_00", "SPEAKER_01"]])


class SpeakerSegments(Body):
    """The `json` of /v1/audio/diarization: turns by their start; they may overlap."""

    duration: float = Field(description="Seconds of the recording.", examples=[12.8])
    segments: tuple[SpeakerSegment, ...]
    overlaps: tuple[Overlap, ...] = Field(
        description="Where several people speak at once, and who they are."
    )
    warnings: Warned = None


def segments(found: Diarized, *, offset: float = 0.0) -> SpeakerSegments:
    return SpeakerSegments(
        duration=round(found.seconds, 3),
        segments=tuple(
            SpeakerSegment(
                start=round(turn.start + offset, 3),
                end=round(turn.end + offset, 3),
                speaker=_name(found, turn),
                confidence=turn.confidence,
                similarity=found.similarity.get(found.names.get(turn.speaker, "")),
            )
            for turn in _in_order(found)
        ),
        overlaps=tuple(_overlaps(found, offset)),
        warnings=audio_warnings.of_condition(found.condition, offset),
    )


def rttm(found: Diarized, filename: str, *, offset: float = 0.0) -> str:
    """NIST's Rich Transcription Time Marked file (RT-09, appendix A): ten columns for each turn.

    The recording has the name of its file without the suffix. White space would end a column. The
    ninth column is the confidence, if the diarizer tells it.
    """
    recording = _column(PurePath(filename).stem, "audio")
    return "".join(
        f"SPEAKER {recording} 1 {turn.start + offset:.3f} {turn.end - turn.start:.3f} "
        f"<NA> <NA> {_column(_name(found, turn), '<NA>')} {_confidence(turn)} <NA>\n"
        for turn in _in_order(found)
    )


def _overlaps(found: Diarized, offset: float) -> Iterator[Overlap]:
    """The stretches in which the same people speak at once, in order."""
    edges = sorted(
        edge
        for number, turn in enumerate(found.turns)
        for edge in ((turn.start, 1, number), (turn.end, 0, number))
    )
    speaking: dict[int, str] = {}
    for (at, begins, number), (until, _, _) in pairwise([*edges, (inf, 0, -1)]):
        if begins:
            speaking[number] = _name(found, found.turns[number])
        else:
            speaking.pop(number, None)
        start, end = round(at + offset, 3), round(until + offset, 3)
        people = dict.fromkeys(speaking.values())
        if len(people) > 1 and end > start:
            yield Overlap(start=start, end=end, speakers=tuple(people))


def _confidence(turn: SpeakerTurn) -> str:
    return "<NA>" if turn.confidence is None else f"{turn.confidence:.3f}"


def _in_order(found: Diarized) -> list[SpeakerTurn]:
    return sorted(found.turns, key=lambda turn: turn.start)


def _name(found: Diarized, turn: SpeakerTurn) -> str:
    return found.names.get(turn.speaker) or f"SPEAKER_{turn.speaker:02d}"


def _column(text: str, default: str) -> str:
    return _SPACE.sub("_", text.strip()) or default
