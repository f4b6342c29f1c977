"""``reflector-gpu ray batch``: all of a folder once, and what is left when it is run again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import wav
from tests.cli.program import PROGRAM, environment

RECORDINGS = 5


@pytest.fixture
def folder(tmp_path: Path, speech: Samples) -> Path:
    """Recordings, one of them in a folder below, and a file that is none."""
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    for number in range(RECORDINGS):
        name = f"below/{number}.wav" if number == 3 else f"{number}.wav"
        piece = speech[number * SAMPLE_RATE : (number + 4) * SAMPLE_RATE]
        (folder / name).write_bytes(wav(piece))
    (folder / "notes.wav").write_text("nothing to hear")
    return folder


def batch(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    env = environment(MODEL="scripted", RAY_CPUS="1")
    return subprocess.run(
        [PROGRAM, "ray", "batch", str(folder), str(out), "--format", "json", "--actors", "2"],
        env={**env, "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": "/tmp"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_folder_is_transcribed_and_what_is_left_is_done_by_the_next_run(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = batch(folder, out)
    assert first.returncode == 1, first.stderr  # for the file that is no recording
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*.json"))
    assert made == ["0.wav.json", "1.wav.json", "2.wav.json", "4.wav.json", "below/3.wav.json"]
    assert "notes.wav: " in (out / "failures.txt").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
    (out / "1.wav.json").unlink()
    (folder / "notes.wav").unlink()
    second = batch(folder, out)
    assert second.returncode == 0, second.stderr
    assert f"{RECORDINGS} recordings, {RECORDINGS - 1} of them done before" in second.stderr
    again = {path for path in before if path.stat().st_mtime_ns != before[path]}
    assert {path.name for path in again} == {"1.wav.json"}
    assert not list(out.rglob("*.part"))
