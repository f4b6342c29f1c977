"""What the tests of the clients share: recordings, and what to do about a client that is absent."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import wave
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from tests.clients.server import KEY, ROOT, Server
from tests.waiting import PROGRAM_SECONDS

HERE = Path(__file__).parent

SPEECH = ROOT / "tests" / "fixtures" / "speech"

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


def output_of_javascript(code: str) -> str:
    """What a module prints, which finds the packages of tests/clients/package.json."""
    command = [_node(), "--input-type=module", "--eval", code]
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _node() -> str:
    if not (node := shutil.which("node")):
        absent("Node is not on this machine")
    if not (HERE / "node_modules" / "installed").exists():
        absent("the packages of tests/clients/package.json are not installed")
    return node


def run_javascript(name: str, server: Server) -> None:
    """Run one file of node/ by Node's test runner."""
    variables = {
        "SERVER_URL": server.url,
        "SERVER_KEY": KEY,
        "ENGLISH": str(ENGLISH),
        "ENGLISH_TEXT": text_of(ENGLISH),
        "SPANISH": str(SPANISH),
        "SPANISH_TEXT": text_of(SPANISH),
    }
    done = subprocess.run(
        [_node(), "--test", "--test-reporter=spec", HERE / "node" / name],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
