"""What the tests of the clients share: recordings, and what to do about a client that is absent."""

from __future__ import annotations

import importlib
import json
import os
import wave
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from tests.clients.server import ROOT

SPEECH = ROOT / "tests" / "fixtures" / "speech"
STANDUP = ROOT / "samples" / "standup.wav"

ENGLISH = SPEECH / "en_en-us_please_share_project_summary.wav"
SPANISH = SPEECH / "es_es-f2_hola_equipo.wav"


def text_of(recording: Path) -> str:
    """The words that were spoken in one of the recordings of `SPEECH`."""
    known = json.loads((SPEECH / "speech.json").read_text())
    return str(known[recording.name]["text"])


def pcm_of(recording: Path) -> tuple[bytes, int]:
    """The samples of a WAV file, 16 bits each, and how many there are in a second."""
    with wave.open(str(recording)) as file:
        return file.readframes(file.getnframes()), file.getframerate()


def client(name: str) -> ModuleType:
    """The module ``name`` of a client; the test is skipped where that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        absent(f"{name} cannot be imported: {error}")


def absent(reason: str) -> NoReturn:
    """Skip the test, but fail it in CI, where every client has to run."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI no client may be missing")
    pytest.skip(reason)
