"""The files of whisper-asr-webservice, which are those of openai/whisper."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from reflector_gpu.formats import openai, subtitles
from reflector_gpu.formats.schemas import Body, SpokenWord, VerboseSegment
from reflector_gpu.formats.words import spoken_words
from reflector_gpu.types import Segment, Transcript

FileFormat: TypeAlias = Literal["txt", "vtt", "srt", "tsv", "json"]


class AsrSegment(VerboseSegment):
    words: tuple[SpokenWord, ...] | None = Field(
        None, description="If `word_timestamps` asked for them."
    )


class AsrTranscript(Body):
    """The output `json`: what openai/whisper's Python API returns."""

    text: str
    segments: tuple[AsrSegment, ...]
    language: str = Field(description="ISO 639 code; `und` if it is not known.", examples=["en"])


class DetectedLanguage(Body):
    """The answer of /detect-language."""

    detected_language: str = Field(examples=["english"])
    language_code: str = Field(
        description="ISO 639 code; `und` if the recogniser detects none.", examples=["en"]
    )
    confidence: float = Field(
        description="How much of the text that was heard is in it, from 0 to 1.", examples=[1.0]
    )


def file(transcript: Transcript, output: FileFormat, *, words: bool = False) -> str:
    """``transcript`` as a file. Only ``json`` has ``words``."""
    match output:
        case "srt":
            return subtitles.srt(transcript)
        case "vtt":
            return subtitles.vtt(transcript)
        case "tsv":
            return "start\tend\ttext\n" + "".join(map(_row, transcript.segments))
        case "json":
            return _json(transcript, words=words).model_dump_json(exclude_none=True)
        case "txt":
            return "".join(f"{segment.text}\n" for segment in transcript.segments)


def _row(segment: Segment) -> str:
    start, end = round(segment.start * 1000), round(segment.end * 1000)
    text = " ".join(segment.text.split())
    return f"{start}\t{end}\t{text}\n"


def _json(transcript: Transcript, *, words: bool) -> AsrTranscript:
    verbose = openai.verbose_json(transcript, ("segment",)).segments or ()
    return AsrTranscript(
        text=transcript.text,
        language=transcript.language or "und",
        segments=tuple(
            AsrSegment(
                **one.model_dump(exclude={"text"}),
                text=segment.text if segment.glued else f" {segment.text}",
                words=spoken_words(segment.words, "leading") if words else None,
            )
            for one, segment in zip(verbose, transcript.segments, strict=True)
        ),
    )
