"""SubRip and WebVTT files. ``offset`` is added to every time; no time is below zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from reflector_gpu.formats.cues import Cue, CueStream, cues, labelled_cues
from reflector_gpu.formats.response_format import Format
from reflector_gpu.formats.tokens import tokens
from reflector_gpu.types import Segment, Transcript

VTT_HEADER = "WEBVTT\n\n"

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""WebVTT cue text holds neither ``&`` nor ``<`` bare, and no ``-->`` (W3C WebVTT, Syntax)."""


def srt(transcript: Transcript, *, offset: float = 0.0) -> str:
    """A SubRip file, with ``Anna: …`` where Anna begins to speak. It is empty without speech."""
    return "\n".join(
        _srt(number, cue) for number, cue in enumerate(labelled_cues(transcript, offset=offset), 1)
    )


def vtt(transcript: Transcript, *, offset: float = 0.0) -> str:
    """A WebVTT file. A voice tag, ``<v Anna>…``, names the speaker of each cue."""
    return VTT_HEADER + "\n".join(map(_vtt, cues(transcript, offset=offset)))


class SubtitleStream:
    """A file that is written cue by cue while the transcript grows. It names no speakers.

    The pieces, one after the other, are the file that `srt` or `vtt` would write.
    """

    def __init__(
        self, response_format: Literal[Format.SRT, Format.VTT], offset: float = 0.0
    ) -> None:
        self._response_format = response_format
        self._cues = CueStream(offset)
        self._count = 0

    def add(self, segments: Iterable[Segment]) -> list[tuple[Cue, str]]:
        """Add ``segments``, and return the cues that they settle, with their pieces of the file."""
        return self._pieces(self._cues.add(tokens(segments)))

    def end(self, duration: float) -> list[tuple[Cue, str]]:
        """The remaining cues of a recording of ``duration`` seconds, with their pieces."""
        return self._pieces(self._cues.end(duration))

    def _pieces(self, cues: Iterable[Cue]) -> list[tuple[Cue, str]]:
        return [(cue, self._piece(cue)) for cue in cues]

    def _piece(self, cue: Cue) -> str:
        self._count += 1
        first = self._count == 1
        if self._response_format is Format.VTT:
            return (VTT_HEADER if first else "\n") + _vtt(cue)
        return ("" if first else "\n") + _srt(self._count, cue)


def _srt(number: int, cue: Cue) -> str:
    return f"{number}\n{_timing(cue, ',')}\n" + "".join(f"{line}\n" for line in cue.lines)


def _vtt(cue: Cue) -> str:
    lines = "".join(f"{_escaped(line)}\n" for line in cue.lines)
    return f"{_timing(cue, '.')}\n{_voice(cue)}{lines}"


def _timing(cue: Cue, decimal_mark: str) -> str:
    return f"{_clock(cue.start, decimal_mark)} --> {_clock(cue.end, decimal_mark)}"


def _clock(milliseconds: int, decimal_mark: str) -> str:
    """``01:02:03,004``. Hours are always there, and may have more than two digits."""
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{decimal_mark}{rest % 1000:03d}"


def _voice(cue: Cue) -> str:
    """The voice tag. Without an end tag it applies to the whole cue (W3C WebVTT, Syntax)."""
    name = " ".join((cue.speaker or "").split())
    return f"<v {_escaped(name)}>" if name else ""


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
