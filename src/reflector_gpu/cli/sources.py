"""What was asked for: recordings, and how to hear them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from reflector_gpu.api.fields import TranscriptionFields, from_form
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
    diarize: str | None = None

    def form(self) -> dict[str, str]:
        """What was given, as form fields."""
        return {name: value for name, value in asdict(self).items() if value}

    def fields(self) -> TranscriptionFields:
        """The same, checked.

        Raises:
            InvalidRequest: a value does not fit.
        """
        return from_form(self.form().items())


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
