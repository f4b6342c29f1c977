"""Speaker turns in the formats of pyannote's tools and of servers that use them."""

from __future__ import annotations

import re
from pathlib import PurePath

from pydantic import Field

from reflector_gpu.formats import audio_warnings
from reflector_gpu.formats.schemas import Body, Warned
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


class SpeakerSegments(Body):
    """The `json` of /v1/audio/diarization: turns by their start; they may overlap."""

    duration: float = Field(description="Seconds of the recording.", examples=[12.8])
    segments: tuple[SpeakerSegment, ...]
    warnings: Warned = None


def segments(found: Diarized, *, offset: float = 0.0) -> SpeakerSegments:
    return SpeakerSegments(
        duration=round(found.seconds, 3),
        segments=tuple(
            SpeakerSegment(
                start=round(turn.start + offset, 3),
                end=round(turn.end + offset, 3),
                speaker=_name(found, turn),
            )
            for turn in _in_order(found)
        ),
        warnings=audio_warnings.of_condition(found.condition, offset),
    )


def rttm(found: Diarized, filename: str, *, offset: float = 0.0) -> str:
    """NIST's Rich Transcription Time Marked file (RT-09, appendix A): ten columns for each turn.

    The recording has the name of its file without the suffix. White space would end a column.
    """
    recording = _column(PurePath(filename).stem, "audio")
    return "".join(
        f"SPEAKER {recording} 1 {turn.start + offset:.3f} {turn.end - turn.start:.3f} "
        f"<NA> <NA> {_column(_name(found, turn), '<NA>')} <NA> <NA>\n"
        for turn in _in_order(found)
    )


def _in_order(found: Diarized) -> list[SpeakerTurn]:
    return sorted(found.turns, key=lambda turn: turn.start)


def _name(found: Diarized, turn: SpeakerTurn) -> str:
    return found.names.get(turn.speaker) or f"SPEAKER_{turn.speaker:02d}"


def _column(text: str, default: str) -> str:
    return _SPACE.sub("_", text.strip()) or default
