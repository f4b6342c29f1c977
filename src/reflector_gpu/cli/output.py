"""Transcripts in the format that was asked for, and where they are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from rich.style import Style

from reflector_gpu.cli.output_formats import OutputFormat
from reflector_gpu.cli.sources import Source
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.formats import openai, reflector, subtitles
from reflector_gpu.formats.words import spans
from reflector_gpu.pipeline.translation import in_translation
from reflector_gpu.types import Transcript, WordSpaces

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_SUBTITLES = (OutputFormat.SRT, OutputFormat.VTT)
_JSON = (OutputFormat.JSON, OutputFormat.VERBOSE_JSON)


def form_of(asked: OutputFormat | None, target: str | None) -> OutputFormat:
    """The format to write: the one that was asked for, or else that of the ending of ``target``.

    Raises:
        InvalidRequest: no format has this ending.
    """
    if asked is OutputFormat.TEXT:
        return OutputFormat.TXT
    if asked or target is None or _is_folder(target) or not (ending := Path(target).suffix):
        return asked or OutputFormat.TXT
    found = OutputFormat.of(Path(target))
    if found is None:
        endings = ", ".join(dict.fromkeys(f".{form.extension}" for form in OutputFormat))
        raise InvalidRequest(
            f"{target}: no format ends in {ending}. Pass --format, or a name that ends in one of "
            f"{endings}."
        )
    return found


def render(
    transcript: Transcript, form: OutputFormat, filename: str, spaces: WordSpaces = "leading"
) -> str:
    """The text of a file with ``transcript``. ``spaces`` are those of words in JSON."""
    match form:
        case OutputFormat.TXT | OutputFormat.TEXT:
            return dialogue(transcript) or openai.text(in_translation(transcript))
        case OutputFormat.JSON:
            body = reflector.file(transcript, filename, spaces=spaces)
            return f"{body.model_dump_json(exclude_none=True)}\n"
        case OutputFormat.VERBOSE_JSON:
            verbose = openai.verbose_json(transcript, ("word", "segment"), spaces=spaces)
            return f"{verbose.model_dump_json(exclude_none=True)}\n"
        case OutputFormat.SRT:
            return subtitles.srt(in_translation(transcript))
        case OutputFormat.VTT:
            return subtitles.vtt(in_translation(transcript))
        case OutputFormat.WORDS:
            return _table(transcript)


def dialogue(transcript: Transcript, paint: Callable[[str], str] = str) -> str:
    """A line for each turn, which begins with its speaker; empty if no speaker is known.

    ``paint`` may colour the speakers.

    >>> print(dialogue(transcript))  # doctest: +SKIP
    A: Shall we begin?
    B: Yes.
    """
    told = [segment for segment in in_translation(transcript).segments if segment.speaker]
    lines = (
        f"{paint(str(speaker))}: {replace(transcript, segments=tuple(turn)).text}\n"
        for speaker, turn in groupby(told, key=lambda segment: segment.speaker)
    )
    return "".join(lines)


def painted(speaker: str) -> str:
    """``speaker`` in a colour of its own, for a terminal."""
    colour = _COLOURS[sum(map(ord, speaker)) % len(_COLOURS)]
    return Style(color=colour, bold=True).render(speaker)


def _table(transcript: Transcript) -> str:
    words = transcript.words
    told = any(word.speaker for word in words)
    rows = [f"{'start':>8} {'end':>8}  {'who   ' if told else ''}word\n"]
    for word, (start, end) in zip(words, spans(words), strict=True):
        who = f"{word.speaker or '':4}  " if told else ""
        rows.append(f"{start:8.2f} {end:8.2f}  {who}{word.text}\n")
    return "".join(rows)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one recording's text goes: a file, or standard output.

    On standard output, a ``heading`` sets texts of several recordings apart, as with ``head``.
    """

    path: Path | None = None
    heading: str | None = None

    def write(self, text: str) -> None:
        """Write ``text``.

        Raises:
            OSError: it cannot be written.
        """
        if self.path:
            self.path.write_text(text, encoding="utf-8")
            return
        sys.stdout.write(f"==> {self.heading} <==\n{text}\n" if self.heading else text)
        sys.stdout.flush()


def outputs(sources: Sequence[Source], form: OutputFormat, target: str | None) -> list[Destination]:
    """The destination of each of ``sources``; ``target`` is the value of ``-o``.

    Raises:
        InvalidRequest: ``target`` is a single file for several inputs, or cannot be written.
    """
    several = len(sources) > 1
    if target is None:
        if several and form in _SUBTITLES:
            raise InvalidRequest("Subtitles of several inputs need a folder: pass -o FOLDER.")
        headed = several and form not in _JSON
        return [Destination(heading=source.label if headed else None) for source in sources]
    if several and not _is_folder(target) and OutputFormat.of(Path(target)):
        raise InvalidRequest(
            f"Several inputs need a folder, and {target} is named like a file: pass -o FOLDER."
        )
    if several or _is_folder(target):
        return [Destination(path) for path in _in_folder(sources, form, Path(target))]
    _check(Path(target), sources)
    return [Destination(Path(target))]


def _is_folder(target: str) -> bool:
    return target.endswith("/") or Path(target).is_dir()


def _in_folder(sources: Sequence[Source], form: OutputFormat, folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be made a folder: {error.strerror}.") from None
    paths: dict[Path, Source] = {}
    for source in sources:
        path = folder / f"{Path(source.label).stem}.{form.extension}"
        if path in paths:
            raise InvalidRequest(
                f"{paths[path].name} and {source.name} would both be written to {path}: "
                "transcribe them one by one."
            )
        _check(path, sources)
        paths[path] = source
    return list(paths)


def _check(path: Path, sources: Sequence[Source]) -> None:
    """Raise `InvalidRequest` now, and not after an hour, if ``path`` cannot be written."""
    if any(source.path and path.exists() and path.samefile(source.path) for source in sources):
        raise InvalidRequest(f"{path} is one of the recordings: it would be overwritten.")
    if path.is_dir():
        raise InvalidRequest(f"{path} cannot be written: it is a folder.")
    if not path.parent.is_dir():
        raise InvalidRequest(f"{path} cannot be written: there is no folder {path.parent}.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InvalidRequest(f"{path} cannot be written: its owner does not allow it.")
