"""SubRip and WebVTT files. ``offset`` is added to every time; none begins before zero."""

from __future__ import annotations

from reflector_gpu.api.render.cues import Cue, cues, labelled_cues
from reflector_gpu.types import Transcript

VTT_HEADER = "WEBVTT\n\n"

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""WebVTT cue text holds neither ``&`` nor ``<`` bare, and no ``-->`` (W3C WebVTT, Syntax)."""


def srt(transcript: Transcript, *, offset: float = 0.0) -> str:
    """A SubRip file: ``Anna: …`` where Anna begins to speak; empty if nobody does."""
    return "\n".join(
        f"{number}\n{_timing(cue, ',')}\n" + "".join(f"{line}\n" for line in cue.lines)
        for number, cue in enumerate(labelled_cues(transcript, offset=offset), 1)
    )


def vtt(transcript: Transcript, *, offset: float = 0.0) -> str:
    """A WebVTT file: every cue of Anna's is in her voice, ``<v Anna>…``."""
    return VTT_HEADER + "\n".join(
        f"{_timing(cue, '.')}\n{_voice(cue)}" + "".join(f"{_escaped(line)}\n" for line in cue.lines)
        for cue in cues(transcript, offset=offset)
    )


def _timing(cue: Cue, decimal_mark: str) -> str:
    return f"{_clock(cue.start, decimal_mark)} --> {_clock(cue.end, decimal_mark)}"


def _clock(milliseconds: int, decimal_mark: str) -> str:
    """``01:02:03,004``; hours are never left out and may take more than two digits."""
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{decimal_mark}{rest % 1000:03d}"


def _voice(cue: Cue) -> str:
    """The voice tag, without an end: it then holds for the whole cue (W3C WebVTT, Syntax)."""
    name = " ".join((cue.speaker or "").split())
    return f"<v {_escaped(name)}>" if name else ""


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
