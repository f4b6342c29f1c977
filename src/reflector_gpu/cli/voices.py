"""Speakers on a command line: their names, each with a recording of the voice."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from reflector_gpu.errors import InvalidRequest


def voices_of(typed: Sequence[str]) -> dict[str, bytes]:
    """The files of voices by the names of their speakers. Each of ``typed`` is NAME=FILE.

    Raises:
        InvalidRequest: a voice has no name, the name of another, or cannot be read.
    """
    known: dict[str, bytes] = {}
    for name, audio in map(_voice, typed):
        if name in known:
            raise InvalidRequest(f"--speaker: '{name}' is there twice; give each voice its name.")
        known[name] = audio
    return known


def reference(audio: bytes) -> str:
    """A file of a voice in the form in which servers take it."""
    return f"data:audio;base64,{base64.b64encode(audio).decode()}"


def _voice(typed: str) -> tuple[str, bytes]:
    """A speaker's name, and the file with their voice."""
    name, _, file = typed.partition("=")
    name = name.strip()
    if not name or not file:
        raise InvalidRequest(f"--speaker: '{typed}' is not NAME=FILE.")
    try:
        return name, Path(file).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"--speaker: '{file}' cannot be read: {error.strerror}.") from error
