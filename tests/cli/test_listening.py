"""`reflector-gpu listen`: words while a file plays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import environment, run
from tests.engines.tiny import PARAKEET, clips

pytestmark = pytest.mark.slow

ENVIRONMENT = environment(MODEL="tiny", MODEL_PATHS=json.dumps({"tiny": str(PARAKEET)}))


def test_a_file_is_heard_at_its_own_pace() -> None:
    clip = min(clips("en"), key=lambda one: len(one.samples))
    done = run("listen", str(clip.path), env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{clip.text}\n"


def test_what_cannot_be_heard_is_told_in_a_line(tmp_path: Path) -> None:
    nothing = run("listen", str(tmp_path / "nothing.wav"), env=ENVIRONMENT)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "There is no file" in nothing.stderr
    text = tmp_path / "text.wav"
    text.write_text("This is no audio at all. " * 99)
    broken = run("listen", str(text), env=ENVIRONMENT)
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.startswith("Error: ")
    assert broken.stderr.count("\n") == 1
