"""What was asked for: recordings, and how to hear them."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from reflector_gpu.api.fields import TranscriptionFields, explained
from reflector_gpu.audio.decode import header_seconds
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.pipeline.transcribe import Part


@dataclass(frozen=True, slots=True)
class Source:
    """A recording: a local file, or a URL. ``name`` is what was typed."""

    name: str
    path: Path | None = None

    @classmethod
    def of(cls, typed: str) -> Source:
        if typed.lower().startswith(("http://", "https://")):
            return cls(typed)
        return cls(typed, Path(typed))

    @property
    def label(self) -> str:
        """Its name without folders, and without a URL's query: that may be a secret."""
        if self.path:
            return self.path.name
        parts = urlsplit(self.name)
        return unquote(parts.path).rstrip("/").rpartition("/")[2] or parts.hostname or "audio"

    def file(self) -> Path:
        """The local file.

        Raises:
            InvalidRequest: there is none.
        """
        assert self.path is not None, "a URL has no file"
        if self.path.is_dir():
            raise InvalidRequest("This is a folder; name the recordings in it.")
        if not self.path.exists():
            raise InvalidRequest("There is no such file.")
        if not self.path.is_file():
            raise InvalidRequest("This is not a regular file.")
        return self.path

    def seconds(self) -> float | None:
        """What a local file's header says about its length, for the progress display."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            with Spool.of(self.path) as spool:
                return header_seconds(spool.reader())
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Wish:
    """The fields of a transcription request that the command line can set, as typed."""

    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    hotwords: str | None = None
    diarize: bool = False
    speakers: tuple[str, ...] = ()
    """``name=file`` for each whose voice is known; where there are any, speakers are told apart."""

    @property
    def told_apart(self) -> bool:
        """Whether words say whose they are."""
        return self.diarize or bool(self.speakers)

    def form(self) -> dict[str, str | list[str]]:
        """What was given, as form fields.

        Raises:
            InvalidRequest: a speaker has no name, or no voice that can be read.
        """
        found: dict[str, str | list[str]] = {
            name: value
            for name in ("model", "language", "prompt", "hotwords")
            if (value := getattr(self, name))
        }
        if self.told_apart:
            found["diarize"] = "true"
        if self.speakers:
            known = [_voice(typed) for typed in self.speakers]
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
        raise InvalidRequest(f"--speaker: '{file}' can not be read: {error.strerror}.") from error
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
            ReflectorError: this recording can not be transcribed.
        """
