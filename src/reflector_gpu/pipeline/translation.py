"""Text to its translation, sentence by sentence, with its white space; and whole transcripts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from reflector_gpu.pipeline.transcription import Gathered, Part
from reflector_gpu.types import Segment, Transcript

SubmitText = Callable[[str], Awaitable[str]]
"""Translates one line of text, wherever the translator runs."""

TranslateAll = Callable[[Sequence[str], str | None], Awaitable[Sequence[str]]]
"""Translates texts out of a language, if it is known."""

_AT_ONCE = 2000
"""Characters that are split into sentences at once: the time grows with their square."""

_LINE = re.compile(r"[^\r\n]+")
_CLAUSE = re.compile(r"[,;:]\s+|[،；，：、]\s*")
_SPACE = re.compile(r"\s+")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"
)
"""Of scripts without a space between sentences: Thai, Lao, Burmese, Khmer, Chinese, Japanese."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a text is cut for an engine: into ``sentences`` of its ``language`` (a code) or lines,
    none of which is longer than ``longest`` characters."""

    language: str
    sentences: bool
    longest: int


async def translate(
    texts: Sequence[str], splitting: Splitting, submit: SubmitText, *, ahead: int
) -> list[str]:
    """The translation of each of ``texts``; at most ``ahead`` pieces are in work at once.

    White space and line breaks stay, and so does what has no letters.

    Raises:
        ReflectorError: a piece could not be translated.
    """
    # In a thread: a long text would hold up every other request.
    cut, readable = await asyncio.to_thread(_cut, texts, splitting)
    waiting = iter(readable)

    async def work() -> None:
        for piece in waiting:
            piece.translation = await submit(piece.text)

    tasks = [asyncio.create_task(work()) for _ in readable[:ahead]]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return await asyncio.to_thread(lambda: list(map(_joined, texts, cut)))


@dataclass(slots=True)
class _Piece:
    """What begins at ``start`` of a text, and its translation, at first the same."""

    start: int
    text: str
    translation: str


def _cut(texts: Sequence[str], splitting: Splitting) -> tuple[list[list[_Piece]], list[_Piece]]:
    """The pieces of each of ``texts``; and those of them that have letters."""
    cut = [[_Piece(at, found, found) for at, found in pieces(text, splitting)] for text in texts]
    return cut, [piece for own in cut for piece in own if any(map(str.isalpha, piece.text))]


def pieces(text: str, splitting: Splitting) -> Iterator[tuple[int, str]]:
    """What is translated of ``text``: where each piece begins, and the piece without white space
    around it. Whatever is between the pieces is white space."""
    for line in _LINE.finditer(text):
        start = line.start()
        for sentence in _sentences(line[0], splitting):
            for part in _shortened(sentence, splitting.longest):
                stripped = part.strip()
                if stripped:
                    yield start + part.index(stripped[0]), stripped
                start += len(part)


def _sentences(line: str, splitting: Splitting) -> Iterable[str]:
    if not splitting.sentences:
        return [line]
    return _segmented(line, splitting.language)


def _segmented(line: str, language: str) -> Iterator[str]:
    while line:
        head = line[:_AT_ONCE]
        found = _found_by_library(head, language)
        if "".join(found) != head:
            found = [head]
        if len(head) < len(line):
            last = found.pop()  # it goes on, perhaps
            if len(last) > _AT_ONCE // 2:
                found.append(next(_shortened(last, _AT_ONCE // 2)))
        yield from found
        line = line[sum(map(len, found)) :]


def _found_by_library(text: str, language: str) -> list[str]:
    """The sentences of ``text``; all of it as one where the library panics."""
    import sentencex

    try:
        return list(sentencex.segment(language, text))
    # It is Rust, and a panic of it (on some texts with no-break spaces) is no Exception.
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return [text]


def _shortened(text: str, longest: int) -> Iterator[str]:
    """``text``, cut after a clause, else between words, else anywhere."""
    while len(text) > longest:
        clauses, words = (
            [gap.end() for gap in where.finditer(text, longest // 2, longest)]
            for where in (_CLAUSE, _SPACE)
        )
        at = max(clauses or words or [longest])
        yield text[:at]
        text = text[at:]
    yield text


def _joined(text: str, translated: Sequence[_Piece]) -> str:
    """``text`` with its pieces replaced."""
    found: list[str] = []
    before, end = "", 0
    for piece in translated:
        gap = text[end : piece.start]
        if not gap and _UNSPACED.search(before[-1:]):
            # In some scripts no space follows a sentence, and in others it has to.
            runs_on = _UNSPACED.search(f"{found[-1][-1:]}{piece.translation[:1]}")
            gap = "" if runs_on else " "
        found += [gap, piece.translation]
        before, end = piece.text, piece.start + len(piece.text)
    return "".join([*found, text[end:]])


async def with_translations(
    parts: AsyncGenerator[Part, None], language: str | None, translate_all: TranslateAll
) -> AsyncGenerator[Part, None]:
    """``parts`` as they come; the last one has all segments with their translations as well.

    The language of the transcript is known only then; ``language`` is the one that the client
    named.
    """
    gathered = Gathered()
    try:
        async for part in parts:
            gathered.add(part)
            if part.duration is None:
                yield part
                continue
            transcript = gathered.transcript
            spoken = language or transcript.language
            texts = [segment.text for segment in transcript.segments]
            found = await translate_all(texts, spoken)
            told = (
                replace(segment, translation=translation)
                for segment, translation in zip(transcript.segments, found, strict=True)
            )
            yield replace(part, attributed=tuple(told))
    finally:
        await parts.aclose()


async def in_their_place(parts: AsyncGenerator[Part, None]) -> AsyncGenerator[Part, None]:
    """The last of ``parts``, its segments in the language that they were translated to."""
    async with aclosing(parts):
        async for part in parts:
            segments = part.attributed or ()
            told = tuple(replace(_in_translation(one), translation=None) for one in segments)
            yield replace(part, attributed=told if part.attributed is not None else None)


def in_translation(transcript: Transcript) -> Transcript:
    """The transcript in the language it was translated to, if it was.

    It has no words, because translated words have no times.
    """
    if transcript.translation is None:
        return transcript
    return replace(transcript, segments=tuple(map(_in_translation, transcript.segments)))


def _in_translation(segment: Segment) -> Segment:
    return replace(segment, text=segment.translation or "", words=())
