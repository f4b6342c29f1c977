"""Weights from one machine to another, by hand: `models export` and `models import`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.program import environment, run
from tests.engines.hub import Hub
from tests.engines.tiny import WHISPER

pytestmark = pytest.mark.slow


def elsewhere(folder: Path) -> dict[str, str]:
    """Another machine: an empty cache, and no hub."""
    return {**environment(), "HF_HUB_CACHE": str(folder), "HF_ENDPOINT": "http://127.0.0.1:9"}


def test_weights_travel_in_an_archive(hub: Hub, tmp_path: Path) -> None:
    assert run("models", "pull", "tiny").returncode == 0
    archive = tmp_path / "tiny.tar"
    done = run("models", "export", "tiny", str(archive))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{archive}: tiny, ")
    assert not list(tmp_path.glob(".*.part"))

    there = elsewhere(tmp_path / "cache")
    done = run("models", "import", str(archive), env=there)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Systran/faster-whisper-tiny: imported\n"
    pulled = run("models", "pull", "tiny", env=there)  # finds it without the hub
    folder = Path(pulled.stdout.strip())
    assert {file.name for file in folder.iterdir()} == {file.name for file in WHISPER.iterdir()}


def test_a_file_that_is_there_is_replaced_only_if_told_to(hub: Hub, tmp_path: Path) -> None:
    assert run("models", "pull", "tiny").returncode == 0
    archive = tmp_path / "tiny.tar"
    archive.write_text("mine")
    done = run("models", "export", "tiny", str(archive), stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert f"Replace {archive}? Pass --yes" in done.stderr
    assert archive.read_text() == "mine"
    assert run("models", "export", "tiny", str(archive), "--yes").returncode == 0
    assert archive.stat().st_size > len("mine")


def test_what_cannot_be_exported_or_imported_says_so(hub: Hub, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    for arguments, told in (
        (("export", "tiny", str(archive)), "reflector-gpu models pull tiny"),
        (("export", "sphinx", str(archive)), "has no weights to export"),
        (("export", "nothing", str(archive)), "'nothing' does not exist"),
        (("import", str(archive)), "cannot be read: No such file or directory"),
    ):
        done = run("models", *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
        assert told in done.stderr
    archive.write_bytes(b"something else")
    assert "no archive of weights" in run("models", "import", str(archive)).stderr

    assert run("models", "pull", "tiny").returncode == 0
    done = run("models", "export", "tiny", str(tmp_path / "nowhere" / "a.tar"))
    assert "cannot be written: No such file or directory" in done.stderr
    done = run("models", "export", "tiny", str(tmp_path))
    assert "cannot be written: Is a directory" in done.stderr
    assert not list(tmp_path.glob(".*.part"))
