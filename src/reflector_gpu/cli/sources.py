"""The recordings on a command line, and the protocol of what transcribes them."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from reflector_gpu.audio.decode import header_seconds
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.pipeline.transcription import Part

STANDARD_INPUT = "-"

_PIPE_IT = "pipe a recording into `transcribe -`"
_COPIED_AT_ONCE = 1 << 20  # bytes
_RECORDINGS = frozenset(
    ".3gp .aac .aif .aiff .amr .avi .caf .flac .m4a .m4b .mka .mkv .mov .mp3 .mp4 .mpeg .mpg .mpga"
    " .oga .ogg .ogv .opus .ts .wav .webm .wma .wmv".split()
)
"""Endings of the files that are taken from a folder."""


def is_url(typed: str) -> bool:
    return typed.lower().startswith(("http://", "https://"))


def with_folders(inputs: Sequence[str]) -> list[str]:
    """``inputs``, with the recordings in each folder and below in its place.

    A folder without recordings stays.
    """
    return [one for typed in inputs for one in _recordings_in(typed) or [typed]]


def _recordings_in(typed: str) -> list[str]:
    if not os.path.isdir(typed):  # noqa: PTH112  which takes URLs of any length
        return []
    files = (path for path in sorted(Path(typed).rglob("*")) if path.is_file())
    return [str(path) for path in files if path.suffix.lower() in _RECORDINGS]


@dataclass(frozen=True, slots=True)
class Source:
    """A recording: a local file, a URL, or standard input. ``typed`` is what was typed."""

    typed: str
    path: Path | None = None
    piped: io.FileIO | None = None
    """What came over standard input, in a file without a name."""

    @classmethod
    def of(cls, typed: str, files: ExitStack) -> Source:
        """The recording that was typed. ``files`` closes what this opens."""
        if typed == STANDARD_INPUT:
            return cls(typed, piped=files.enter_context(tempfile.TemporaryFile(buffering=0)))
        if is_url(typed):
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
        """Its name in errors: the path or the URL as it was typed, without secrets."""
        if not self.remote:
            return self.typed if self.path else self.label
        parts = urlsplit(self.typed)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def problem(self) -> str | None:
        """Why it cannot be transcribed, as far as the file system knows."""
        if self.piped:
            return f"is a terminal; {_PIPE_IT}" if sys.stdin.isatty() else None
        if self.path is None:
            return None
        if not self.path.exists():
            return "no such file"
        if self.path.is_dir():
            return "is a folder without recordings"
        if not self.path.is_file():
            return f"is no regular file; {_PIPE_IT}"
        if not os.access(self.path, os.R_OK):
            return "cannot be read: Permission denied"
        return None if self.path.stat().st_size else "is empty"

    def fill(self) -> None:
        """If this is standard input, read it to its end.

        Raises:
            InvalidRequest: there is no room for it.
        """
        if self.piped is None:
            return
        try:
            shutil.copyfileobj(sys.stdin.buffer, self.piped, _COPIED_AT_ONCE)
        except OSError as error:
            raise InvalidRequest(f"Standard input cannot be kept: {error.strerror}.") from error

    def opened(self) -> io.FileIO:
        """The open file of a recording that is not a URL. The caller closes it.

        Raises:
            InvalidRequest: it cannot be opened, or is empty.
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


Report: TypeAlias = Callable[[str], None]
"""Takes what is being done before words come: ``"sending 40%"``, ``"recognising"``."""


class RecordingTranscriber(Protocol):
    """What transcribes recordings: this process, or a server."""

    @property
    def concurrency(self) -> int:
        """How many recordings to work on at the same time."""

    def running(self) -> AbstractAsyncContextManager[object]:
        """The context in which `parts` may be used."""

    def parts(self, source: Source, report: Report) -> AsyncGenerator[Part, None]:
        """The parts of one transcript, as they come.

        Raises:
            ReflectorError: this recording cannot be transcribed.
        """
