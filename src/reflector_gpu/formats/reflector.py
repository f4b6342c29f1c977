"""The formats that Reflector reads: text and timed words.

``offset`` is added to every time. Reflector joins words without adding spaces, also those of
several answers. So every word has its ``leading`` space, even the first.
"""

from __future__ import annotations

from reflector_gpu.formats import audio_warnings
from reflector_gpu.formats.schemas import (
    Diarization,
    DiarizedTurn,
    ReflectorFile,
    ReflectorTranscript,
    TextTranslation,
    TranscribeTranscript,
    TranscribeWord,
)
from reflector_gpu.formats.translated_segments import translated_segments
from reflector_gpu.formats.words import spoken_words
from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.types import Transcript, WordSpaces


def transcript(
    source: Transcript, *, offset: float = 0.0, spaces: WordSpaces = "leading"
) -> ReflectorTranscript:
    """The format of /v1/audio/transcriptions-from-url, which has no file name."""
    return ReflectorTranscript(
        text=source.text,
        words=spoken_words(source.words, spaces, offset),
        translation=source.translation,
        segments=translated_segments(source, offset),
        warnings=audio_warnings.of_transcript(source, offset),
    )


def file(source: Transcript, filename: str, *, spaces: WordSpaces = "leading") -> ReflectorFile:
    """The format of /v1/audio/transcriptions, for each uploaded file."""
    return ReflectorFile(
        text=source.text,
        words=spoken_words(source.words, spaces),
        filename=filename,
        translation=source.translation,
        segments=translated_segments(source),
        warnings=audio_warnings.of_transcript(source),
    )


def transcribe(source: Transcript, *, spaces: WordSpaces = "leading") -> TranscribeTranscript:
    """The format of /transcribe, whose words have ``text`` in place of ``word``."""
    return TranscribeTranscript(
        text=source.text,
        words=tuple(
            TranscribeWord(
                text=word.word,
                start=word.start,
                end=word.end,
                probability=word.probability,
                speaker=word.speaker,
            )
            for word in spoken_words(source.words, spaces)
        ),
        translation=source.translation,
        warnings=audio_warnings.of_transcript(source),
    )


def translation(source: str, target: str, text: str, translated: str) -> TextTranslation:
    """The answer of /translate. Two equal codes make one entry."""
    return TextTranslation(text={source: text, target: translated})


def diarization(found: Diarized, *, offset: float = 0.0) -> Diarization:
    """The answer of /diarize."""
    return Diarization(
        diarization=tuple(
            DiarizedTurn(
                start=round(turn.start + offset, 3),
                end=round(turn.end + offset, 3),
                speaker=turn.speaker,
                name=found.names.get(turn.speaker),
                similarity=found.similarity.get(found.names.get(turn.speaker, "")),
            )
            for turn in sorted(found.turns, key=lambda turn: turn.start)
        ),
        warnings=audio_warnings.of_condition(found.condition, offset),
    )
