"""Speech without words, found by holding a recogniser's words against the voice detector.

A recogniser that decodes a long chunk at once may skip a whole utterance between two pauses, and
be sure of what it wrote; or it may repeat its prompt. The detector heard somebody there. Such a
stretch is decoded again, alone and without the prompt. What stays without words is reported, and so
is a short utterance of its own, such as a single word of which the recogniser was too unsure.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

from reflector_gpu.errors import EngineFailed
from reflector_gpu.pipeline.spoken_languages import sure
from reflector_gpu.pipeline.word_edges import bounded, prolonged
from reflector_gpu.types import (
    SAMPLE_RATE,
    Chunk,
    Recognition,
    Segment,
    Span,
    TranscribeOptions,
    Word,
)

LEAST_SECONDS = 1.0
"""Less speech than that without a word is a breath, a laugh, or an aligner's inaccuracy, unless it
is an utterance of its own."""

SHORTEST_UTTERANCE = 0.15
"""Seconds of voice: "yep" has 0.16. The detector takes some clicks for less."""

_APART = 0.3  # seconds without a voice, or from any word, around an utterance of its own
_TOLERANCE = 0.25  # seconds by which aligners and the detector may disagree
_ROUNDS = 4  # of decoding again, each of which goes on where the one before it was stopped
_PADDING = 0.2  # seconds of audio kept around what is decoded again
_MOST = 0.9  # of a chunk: decoding so much of it again would give the same
_ECHO = 6  # words in a row that are the prompt's, before it counts as repeated

_HOPELESS = 4  # chunks lost from the beginning on: an engine that fails on so many hears nothing

Recognise = Callable[[Chunk, TranscribeOptions], Awaitable[Recognition]]


@dataclass(frozen=True, slots=True)
class Heard:
    """What was recognised in a chunk, and where somebody speaks but no words were found.

    Times are relative to the chunk. If the engine failed on the chunk or a stretch of it, that is
    unheard, and the last ``failure`` says why.
    """

    recognition: Recognition
    unheard: tuple[Span, ...] = ()
    failure: EngineFailed | None = None

    @property
    def lost(self) -> bool:
        """Whether there are no words because the engine failed."""
        return self.failure is not None and not self.recognition.segments


class Losses:
    """The chunks that the engine failed on, and when there are too many of them."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._heard = False
        self._lost = 0
        self._failure: EngineFailed | None = None

    def count(self, heard: Heard) -> None:
        """Raise the engine's failure if what was ``heard`` is too little."""
        self._heard |= not heard.lost
        self._lost += heard.lost
        self._failure = heard.failure or self._failure
        if self._failure and (self._strict or (not self._heard and self._lost >= _HOPELESS)):
            raise self._failure

    def end(self) -> None:
        """Raise the engine's failure if nothing was heard at all."""
        if self._failure and not self._heard:
            raise self._failure


async def hear(chunk: Chunk, options: TranscribeOptions, recognise: Recognise) -> Heard:
    """Have ``chunk`` recognised, and then the speech in it that was skipped.

    Raises:
        ReflectorError: whatever ``recognise`` raises, but for `EngineFailed`.
    """
    try:
        found = await recognise(chunk, options)
        if repeats_prompt(_words(found), options):
            found = await recognise(chunk, _bare(options))
    except EngineFailed as error:
        return Heard(Recognition(), (_speech(chunk),), error)
    if not _timed(found):
        return Heard(found)
    failure: EngineFailed | None = None
    found = bounded(found, chunk.voiced)
    gaps = unheard(_words(found), chunk.voiced)
    tried: set[Span] = set()
    for _ in range(_ROUNDS):
        parts = [(index, part) for index, span in gaps for part in _parts(chunk, span)]
        parts = [(index, part) for index, part in parts if (part.start, part.end) not in tried]
        if not parts:
            break
        tried.update((part.start, part.end) for _, part in parts)
        bare = _bare(options)
        again = await asyncio.gather(*(_again(part, bare, found, recognise) for _, part in parts))
        inserted: dict[int, list[Segment]] = {}
        for (index, part), one in zip(parts, again, strict=True):
            if isinstance(one, EngineFailed):
                failure = one
            elif _timed(one):
                inserted.setdefault(index, []).extend(_moved(one, part.start - chunk.start))
        if not any(inserted.values()):
            break
        found = replace(found, segments=tuple(_merged(found.segments, inserted)))
        found = bounded(found, chunk.voiced)
        gaps = unheard(_words(found), chunk.voiced)
    lost = [span for _, span in gaps]
    lost += [one for one in utterances_apart(_words(found), chunk.voiced) if not _within(one, lost)]
    return Heard(prolonged(found, chunk.voiced), tuple(sorted(lost)), failure)


def _bare(options: TranscribeOptions) -> TranscribeOptions:
    """``options`` for speech that a recogniser has skipped."""
    return replace(options, prompt=None, hotwords=(), voiced=True)


def _speech(chunk: Chunk) -> Span:
    """From where to where somebody speaks in ``chunk``."""
    return (chunk.voiced[0][0], chunk.voiced[-1][1]) if chunk.voiced else (0.0, chunk.duration)


async def _again(
    part: Chunk, options: TranscribeOptions, whole: Recognition, recognise: Recognise
) -> Recognition | EngineFailed:
    """What is heard in ``part``, in the language of the ``whole`` unless another one is certain."""
    try:
        found = await recognise(part, options)
        if whole.segments and found.language != whole.language and not sure(found):
            return await recognise(part, replace(options, language=whole.language))
    except EngineFailed as failure:
        return failure
    return found


def _timed(found: Recognition) -> bool:
    """Whether the engine gives times of its words, and reliable ones."""
    words = _words(found)
    return (
        all(segment.words for segment in found.segments)
        and all(0 <= word.start <= word.end < inf for word in words)  # so none is NaN
        and all(before.start <= after.start for before, after in pairwise(words))
    )


def unheard(words: Sequence[Word], voiced: Sequence[Span]) -> list[tuple[int, Span]]:
    """Stretches of speech without words: which word follows, and from when to when.

    Times are seconds of one chunk. At most one stretch is found between two words.
    """
    spoken = [(word.start - _TOLERANCE, word.end + _TOLERANCE) for word in words]
    found: list[tuple[int, Span]] = []
    for index in range(len(words) + 1):
        begin = spoken[index - 1][1] if index else float("-inf")
        end = spoken[index][0] if index < len(words) else float("inf")
        pieces = [(max(a, begin), min(b, end)) for a, b in voiced if min(b, end) > max(a, begin)]
        if sum(b - a for a, b in pieces) >= LEAST_SECONDS:
            found.append((index, (pieces[0][0], pieces[-1][1])))
    return found


def utterances_apart(words: Sequence[Word], voiced: Sequence[Span]) -> list[Span]:
    """Utterances in which, and beside which, there is no word. Times are seconds of one chunk."""
    found: list[Span] = []
    for utterance in _utterances(voiced):
        begin, end = utterance[0][0], utterance[-1][1]
        if sum(b - a for a, b in utterance) >= SHORTEST_UTTERANCE and not any(
            word.start < end + _APART and word.end > begin - _APART for word in words
        ):
            found.append((begin, end))
    return found


def _utterances(voiced: Sequence[Span]) -> list[list[Span]]:
    """``voiced``, the spans between two pauses together."""
    found: list[list[Span]] = []
    for span in voiced:
        if found and span[0] - found[-1][-1][1] < _APART:
            found[-1].append(span)
        else:
            found.append([span])
    return found


def _within(one: Span, others: Sequence[Span]) -> bool:
    return any(begin <= one[0] and one[1] <= end for begin, end in others)


def repeats_prompt(words: Sequence[Word], options: TranscribeOptions) -> bool:
    """Whether most of ``words`` are copied from the client's prompt or hotwords."""
    if not (options.hotwords or options.prompt):
        return False
    told = " ".join([*options.hotwords, options.prompt or ""])
    said = _plain(" ".join(word.text for word in words))
    runs = (said[i : i + _ECHO] for i in range(len(said) - _ECHO + 1))
    known = f" {' '.join(_plain(told))} "
    repeated = sum(f" {' '.join(run)} " in known for run in runs)
    return repeated > 0 and 2 * (repeated + _ECHO - 1) >= len(said)


def _plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _words(found: Recognition) -> list[Word]:
    return [word for segment in found.segments for word in segment.words]


def _parts(chunk: Chunk, span: Span) -> list[Chunk]:
    """What to decode again for the words of ``span``: if that is nearly all of the chunk, the two
    sides of its longest pause."""
    if span[1] - span[0] < _MOST * chunk.duration - 2 * _PADDING:
        return [_part(chunk, span)]
    pauses = [
        (after[0] - before[1], before[1], after[0]) for before, after in pairwise(chunk.voiced)
    ]
    if not pauses:
        return [_part(chunk, span)]
    _, end, begin = max(pauses)
    return [_part(chunk, (span[0], end)), _part(chunk, (begin, span[1]))]


def _part(chunk: Chunk, span: Span) -> Chunk:
    begin = max(0.0, span[0] - _PADDING)
    first, last = round(begin * SAMPLE_RATE), round((span[1] + _PADDING) * SAMPLE_RATE)
    return Chunk(chunk.samples[first:last], chunk.start + first / SAMPLE_RATE)


def _moved(found: Recognition, offset: float) -> list[Segment]:
    def word(one: Word) -> Word:
        return replace(one, start=one.start + offset, end=one.end + offset)

    return [
        replace(
            segment,
            start=segment.start + offset,
            end=segment.end + offset,
            language=segment.language or found.language,
            words=tuple(map(word, segment.words)),
        )
        for segment in found.segments
    ]


def _merged(segments: Sequence[Segment], inserted: dict[int, list[Segment]]) -> Iterator[Segment]:
    """``segments`` with others before the words of the given indices, which cut them."""
    index = 0
    for segment in segments:
        begin = 0
        for position, _ in enumerate(segment.words):
            if index in inserted:
                if position > begin:
                    yield Segment.of(segment.words[begin:position], segment.scores)
                yield from inserted[index]
                begin = position
            index += 1
        yield Segment.of(segment.words[begin:], segment.scores) if begin else segment
    yield from inserted.get(index, ())
