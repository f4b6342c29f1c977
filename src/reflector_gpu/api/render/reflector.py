"""The forms that Reflector reads: text and timed words. ``offset`` is added to every time."""

from __future__ import annotations

from collections.abc import Iterable

from reflector_gpu.api.render.schemas import (
    Diarization,
    DiarizedTurn,
    ReflectorFile,
    ReflectorTranscript,
    TranscribeTranscript,
    TranscribeWord,
)
from reflector_gpu.api.render.words import spans, spoken_words
from reflector_gpu.types import SpeakerTurn, Transcript


def transcript(source: Transcript, *, offset: float = 0.0) -> ReflectorTranscript:
    """The form of /v1/audio/transcriptions-from-url, which has no file name."""
    return ReflectorTranscript(text=source.text, words=spoken_words(source.words, offset))


def file(source: Transcript, filename: str) -> ReflectorFile:
    """The form of /v1/audio/transcriptions, once per uploaded file."""
    return ReflectorFile(text=source.text, words=spoken_words(source.words), filename=filename)


def transcribe(source: Transcript) -> TranscribeTranscript:
    """The form of /transcribe, whose words have a ``text`` and no ``word``."""
    words = source.words
    return TranscribeTranscript(
        text=source.text,
        words=tuple(
            TranscribeWord(text=word.text, start=start, end=end, speaker=word.speaker)
            for word, (start, end) in zip(words, spans(words), strict=True)
        ),
    )


def diarization(turns: Iterable[SpeakerTurn], *, offset: float = 0.0) -> Diarization:
    """The answer of /diarize."""
    return Diarization(
        diarization=tuple(
            DiarizedTurn(
                start=round(turn.start + offset, 3),
                end=round(turn.end + offset, 3),
                speaker=turn.speaker,
            )
            for turn in sorted(turns, key=lambda turn: turn.start)
        )
    )
