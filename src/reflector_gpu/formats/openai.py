"""The answers and stream events of the OpenAI audio API, as openai-python 3.54 types them.

``offset`` is added to every time. ``spaces`` says whether words begin with their spaces. Bodies
and events are models; `schemas` says how to dump them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from reflector_gpu.formats import audio_warnings
from reflector_gpu.formats.response_format import DEFAULT_GRANULARITIES, Granularity
from reflector_gpu.formats.schemas import (
    DiarizedSegment,
    DiarizedTranscription,
    DurationUsage,
    Language,
    SpokenWord,
    Transcription,
    Translation,
    VerboseSegment,
    VerboseTranscription,
)
from reflector_gpu.formats.speakers import monologues
from reflector_gpu.formats.stream_events import DeltaEvent, DoneEvent, StreamEvent, StreamUsage
from reflector_gpu.formats.translated_segments import translated_segments
from reflector_gpu.formats.words import seconds, spoken_words
from reflector_gpu.languages import language_name
from reflector_gpu.types import Segment, SegmentScores, Task, Transcript, WordSpaces

ONLY_SPEAKER = "A"
"""The speaker where speakers were not told apart."""

NO_SCORES = SegmentScores(avg_logprob=0.0, compression_ratio=1.0, no_speech_prob=0.0)
"""Scores for a recogniser without any. They pass every client's quality filter."""

SCORE_LIMIT = 1000.0
"""The largest score, in place of infinity."""

FRAMES_PER_SECOND = 100
"""Units of ``seek`` in a second: openai/whisper counts mel frames of 10 ms."""

STREAM_END = "data: [DONE]\n\n"
"""The last of the server-sent events. openai-python stops reading here."""


def json(transcript: Transcript) -> Transcription:
    return Transcription(
        text=transcript.text,
        translation=transcript.translation,
        languages=_languages(transcript) or None,
        usage=_usage(transcript),
    )


def text(transcript: Transcript) -> str:
    """The text on a line of its own, as OpenAI sends it."""
    return f"{transcript.text}\n"


def verbose_json(
    transcript: Transcript,
    granularities: Sequence[Granularity] = DEFAULT_GRANULARITIES,
    *,
    offset: float = 0.0,
    spaces: WordSpaces = "leading",
) -> VerboseTranscription:
    """Segments, words, or both, by ``granularities``; without any, segments.

    Like whisper-1: ``word`` alone leaves segments out.
    """
    asked = granularities or DEFAULT_GRANULARITIES
    segments = words = None
    if "segment" in asked:
        segments = _verbose_segments(transcript.segments, offset)
    if "word" in asked:
        words = spoken_words(transcript.words, spaces, offset)
    language = language_name(transcript.language)
    return _verbose("transcribe", transcript, language, segments, words, offset)


def diarized_json(transcript: Transcript, *, offset: float = 0.0) -> DiarizedTranscription:
    return DiarizedTranscription(
        duration=seconds(transcript.duration),
        text=transcript.text,
        translation=transcript.translation,
        segments=tuple(segment_events(transcript.segments, offset=offset)),
        warnings=audio_warnings.of_transcript(transcript, offset),
        usage=_usage(transcript),
    )


def translation(transcript: Transcript) -> Translation:
    """The ``json`` of /v1/audio/translations, which has no usage."""
    return Translation(text=transcript.text, translation=transcript.translation)


def verbose_translation(transcript: Transcript) -> VerboseTranscription:
    """The ``verbose_json`` of /v1/audio/translations. Its language is the output's."""
    segments = _verbose_segments(transcript.segments, 0.0)
    return _verbose("translate", transcript, "english", segments)


# Streaming


def delta(segment: Segment, *, offset: float = 0.0, segment_id: str | None = None) -> DeltaEvent:
    """The event of the first segment. Those of the others are `next_delta`.

    ``segment_id`` is the id of the segment's own event, if it will have one.
    """
    return _delta(segment, segment.text, offset, segment_id)


def next_delta(
    segment: Segment, *, offset: float = 0.0, segment_id: str | None = None
) -> DeltaEvent:
    """The event of a segment that follows another. It begins with their space, if they have one.

    One `delta` and then `next_delta` for every segment spell `Transcript.text` exactly.
    """
    text = segment.text if segment.glued else f" {segment.text}"
    return _delta(segment, text, offset, segment_id)


def file_delta(piece: str, start: float, end: float) -> DeltaEvent:
    """The event with a ``piece`` of a subtitle file. Its times include the offset already."""
    return DeltaEvent(delta=piece, start=seconds(start), end=seconds(end), words=())


def segment_events(
    segments: Iterable[Segment], *, offset: float = 0.0
) -> Iterator[DiarizedSegment]:
    """The segments with their speakers, cut where the speaker changes."""
    number, cuts = -1, 0
    for part in (part for segment in segments for part in monologues(segment)):
        number, cuts = (number, cuts + 1) if part.continues else (number + 1, 0)
        yield DiarizedSegment(
            id=segment_id(number, cuts),
            start=seconds(part.start, offset),
            end=seconds(part.end, offset),
            text=part.text,
            speaker=part.speaker or ONLY_SPEAKER,
            speaker_confidence=part.speaker_confidence,
            speaker_similarity=part.speaker_similarity,
            translation=part.translation,
        )


def segment_id(number: int, cuts: int = 0) -> str:
    """The id of a segment: its ``number`` from 0, and how many ``cuts`` precede this part of it.

    The first part's id does not depend on cuts, so events of text can name it before the changes
    of speaker are known.
    """
    return f"seg_{number}_{cuts}" if cuts else f"seg_{number}"


def done(transcript: Transcript, *, offset: float = 0.0) -> DoneEvent:
    return DoneEvent(
        text=transcript.text,
        translation=transcript.translation,
        segments=translated_segments(transcript, offset),
        languages=_languages(transcript),
        warnings=audio_warnings.of_transcript(transcript, offset),
        usage=StreamUsage(seconds=math.ceil(transcript.duration)),
    )


def server_sent(event: StreamEvent) -> str:
    """``event`` on the wire, without an ``event:`` line: clients go by its ``type``."""
    return f"data: {event.model_dump_json(exclude_none=True)}\n\n"


def _languages(transcript: Transcript) -> tuple[Language, ...]:
    return (Language(code=transcript.language),) if transcript.language else ()


def _usage(transcript: Transcript) -> DurationUsage:
    """Whole seconds, rounded up as OpenAI does."""
    return DurationUsage(seconds=math.ceil(transcript.duration))


def _verbose(
    task: Task,
    transcript: Transcript,
    language: str,
    segments: tuple[VerboseSegment, ...] | None,
    words: tuple[SpokenWord, ...] | None = None,
    offset: float = 0.0,
) -> VerboseTranscription:
    return VerboseTranscription(
        task=task,
        language=language,
        duration=seconds(transcript.duration),
        text=transcript.text,
        translation=transcript.translation,
        segments=segments,
        words=words,
        warnings=audio_warnings.of_transcript(transcript, offset),
        usage=_usage(transcript),
    )


def _verbose_segments(segments: Iterable[Segment], offset: float) -> tuple[VerboseSegment, ...]:
    return tuple(
        _verbose_segment(number, segment, segment.scores or NO_SCORES, offset)
        for number, segment in enumerate(segments)
    )


def _verbose_segment(
    number: int, segment: Segment, scores: SegmentScores, offset: float
) -> VerboseSegment:
    return VerboseSegment(
        id=number,
        seek=round(segment.start * FRAMES_PER_SECOND),
        start=seconds(segment.start, offset),
        end=seconds(segment.end, offset),
        text=segment.text,
        tokens=tuple(token.id for token in segment.tokens),
        temperature=_finite(scores.temperature, NO_SCORES.temperature),
        avg_logprob=_finite(scores.avg_logprob, NO_SCORES.avg_logprob),
        compression_ratio=_finite(scores.compression_ratio, NO_SCORES.compression_ratio),
        no_speech_prob=_finite(scores.no_speech_prob, NO_SCORES.no_speech_prob),
        language=segment.language,
        speaker=segment.speaker,
        translation=segment.translation,
    )


def _finite(value: float, neutral: float) -> float:
    """A finite number for ``value``, because JSON has no others and clients do not accept null."""
    return neutral if math.isnan(value) else max(-SCORE_LIMIT, min(value, SCORE_LIMIT))


def _delta(segment: Segment, text: str, offset: float, segment_id: str | None) -> DeltaEvent:
    return DeltaEvent(
        delta=text,
        start=seconds(segment.start, offset),
        end=seconds(segment.end, offset),
        words=spoken_words(segment.words, "none", offset),
        segment_id=segment_id,
    )
