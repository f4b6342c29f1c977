"""What was asked for: recordings, and how to hear them."""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from reflector_gpu.api.fields import TranscriptionFields, explained
from reflector_gpu.audio.decode import header_seconds
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.pipeline.transcription import Part

STANDARD_INPUT = "-"

_PIPE_IT = "pipe a recording into `transcribe -`"
_COPIED_AT_ONCE = 1 << 20  # bytes
_PLAIN_FIELDS = (
    "model",
    "language",
    "track",
    "prompt",
    "hotwords",
    "translate_to",
    "num_speakers",
    "min_speakers",
    "max_speakers",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A recording: a local file, a URL, or standard input. ``typed`` is what was typed."""

    typed: str
    path: Path | None = None
    piped: io.FileIO | None = None
    """What came over standard input, in a file without a name."""

    @classmethod
    def of(cls, typed: str, files: ExitStack) -> Source:
        """``files`` closes what it opens."""
        if typed == STANDARD_INPUT:
            return cls(typed, piped=files.enter_context(tempfile.TemporaryFile(buffering=0)))
        if typed.lower().startswith(("http://", "https://")):
            return cls(typed)
        return cls(typed, Path(typed))

    @property
    def remote(self) -> bool:
        """Whether it is a URL."""
        return self.path is None and self.piped is None

    @property
    def label(self) -> str:
        """Its name without folders, and without a URL's query: that may be a secret."""
        if self.path:
            return self.path.name
        if self.piped:
            return "stdin"
        parts = urlsplit(self.typed)
        return unquote(parts.path).rstrip("/").rpartition("/")[2] or parts.hostname or "audio"

    @property
    def name(self) -> str:
        """What errors call it: the path or the URL as it was typed, without secrets."""
        if not self.remote:
            return self.typed if self.path else self.label
        parts = urlsplit(self.typed)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def problem(self) -> str | None:
        """Why it cannot be heard, as far as a look tells."""
        if self.piped:
            return f"is a terminal; {_PIPE_IT}" if sys.stdin.isatty() else None
        if self.path is None:
            return None
        if not self.path.exists():
            return "no such file"
        if self.path.is_dir():
            return "is a folder; name the recordings in it"
        if not self.path.is_file():
            return f"is no regular file; {_PIPE_IT}"
        if not os.access(self.path, os.R_OK):
            return "cannot be read: Permission denied"
        return None if self.path.stat().st_size else "is empty"

    def fill(self) -> None:
        """Read standard input to its end, if this is it.

        Raises:
            InvalidRequest: it cannot be kept.
        """
        if self.piped is None:
            return
        try:
            shutil.copyfileobj(sys.stdin.buffer, self.piped, _COPIED_AT_ONCE)
        except OSError as error:
            raise InvalidRequest(f"Standard input cannot be kept: {error.strerror}.") from error

    def opened(self) -> io.FileIO:
        """The file with the recording, which must not be a URL; the caller closes it.

        Raises:
            InvalidRequest: there is none, or nothing in it.
        """
        if problem := self.problem:
            raise InvalidRequest(problem)
        try:
            file = self._file()
        except OSError as error:
            raise InvalidRequest(f"cannot be read: {error.strerror}") from error
        if os.fstat(file.fileno()).st_size == 0:
            file.close()
            raise InvalidRequest("is empty")
        return file

    def _file(self) -> io.FileIO:
        if self.piped is None:
            assert self.path is not None, "a URL has no file"
            return io.FileIO(self.path)
        file = io.FileIO(os.dup(self.piped.fileno()))
        file.seek(0)
        return file

    def seconds(self) -> float | None:
        """What a local file's header says about its length, for the progress display."""
        if self.remote:
            return None
        try:
            with Spool.over(self.opened()) as spool:
                return header_seconds(spool.reader())
        except (OSError, InvalidRequest):
            return None


@dataclass(frozen=True, slots=True)
class Wish:
    """The fields of a transcription request that the command line can set, as typed."""

    model: str | None = None
    language: str | None = None
    track: str | None = None
    prompt: str | None = None
    hotwords: str | None = None
    translate_to: str | None = None
    diarize: bool = False
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    voices: tuple[str, ...] = ()
    """``name=file`` for each speaker whose voice is known."""

    @property
    def told_apart(self) -> bool:
        """Whether speakers are told apart: as soon as an option says anything about them."""
        counts = self.num_speakers, self.min_speakers, self.max_speakers
        return self.diarize or bool(self.voices) or any(counts)

    def form(self) -> dict[str, str | list[str]]:
        """What was given, as form fields.

        Raises:
            InvalidRequest: a speaker has no name, or no voice that can be read.
        """
        found: dict[str, str | list[str]] = {
            name: str(value) for name in _PLAIN_FIELDS if (value := getattr(self, name))
        }
        if self.told_apart:
            found["diarize"] = "true"
        if self.voices:
            known = [_voice(typed) for typed in self.voices]
            found["known_speaker_names"] = [name for name, _ in known]
            found["known_speaker_references"] = [reference for _, reference in known]
        return found

    def fields(self) -> TranscriptionFields:
        """The same, checked.

        Raises:
            InvalidRequest: a value does not fit.
        """
        with explained():
            return TranscriptionFields.model_validate(self.form())


def _voice(typed: str) -> tuple[str, str]:
    """A speaker's name, and the data URL of their voice, from ``name=file``."""
    name, _, file = typed.partition("=")
    if not name.strip() or not file:
        raise InvalidRequest(f"--speaker: '{typed}' is not NAME=FILE.")
    try:
        audio = Path(file).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"--speaker: '{file}' cannot be read: {error.strerror}.") from error
    return name, f"data:audio;base64,{base64.b64encode(audio).decode()}"


Report: TypeAlias = Callable[[str], None]
"""Told what is being done before words come: ``"sending 40%"``, ``"recognising"``."""


class Recogniser(Protocol):
    """Where recordings become words: here, or on a server."""

    @property
    def together(self) -> int:
        """How many recordings are worth working on at the same time."""

    def running(self) -> AbstractAsyncContextManager[object]:
        """What must be entered before `parts` is used, and left after."""

    def parts(self, source: Source, report: Report) -> AsyncGenerator[Part, None]:
        """The parts of one transcript, as they come.

        Raises:
            ReflectorError: this recording cannot be transcribed.
        """
