"""Chunk-relative results onto the recording's clock, under the word rules of the API.

Whatever an engine returns: ``start <= end``, starts never decrease, a word ends no later than the
next one starts, and nothing reaches outside its chunk. Chunks do not overlap, so what holds in
each of them holds in the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reflector_gpu.sentences import PAUSE, UNSCORED_PAUSE, sentences, shortened
from reflector_gpu.types import Chunk, Recognition, Segment, Word

LONGEST_SEGMENT = 10.0
"""Seconds; a longer sentence is cut where a reader would pause."""


def place(recognition: Recognition, chunk: Chunk) -> tuple[Segment, ...]:
    """The segments of one chunk in seconds of the recording: sentences, or parts of long ones."""
    words = iter(_tidy([word for s in recognition.segments for word in s.words], chunk))
    placed: list[Segment] = []
    for segment in recognition.segments:
        own = [next(words) for _ in segment.words]
        language = segment.language or recognition.language
        if not own:
            earliest = placed[-1].start if placed else chunk.start
            start = max(earliest, _clamp(segment.start + chunk.start, chunk))
            end = max(start, _clamp(segment.end + chunk.start, chunk))
            placed.append(replace(segment, start=start, end=end, language=language))
        else:
            pause = UNSCORED_PAUSE if segment.scores is None else PAUSE
            placed.extend(
                replace(Segment.of(run, segment.scores), language=language)
                for sentence in sentences(own, pause)
                for run in shortened(sentence, LONGEST_SEGMENT)
            )
    return tuple(placed)


def _tidy(words: Sequence[Word], chunk: Chunk) -> list[Word]:
    starts: list[float] = []
    earliest = chunk.start
    for word in words:
        earliest = max(earliest, _clamp(word.start + chunk.start, chunk))
        starts.append(earliest)
    limits = [*starts[1:], chunk.end]
    return [
        replace(word, start=start, end=min(max(start, word.end + chunk.start), limit))
        for word, start, limit in zip(words, starts, limits, strict=False)
    ]


def _clamp(seconds: float, chunk: Chunk) -> float:
    """``seconds`` or the chunk's nearer edge; its start for what is not a number."""
    return min(max(chunk.start, seconds), chunk.end)
