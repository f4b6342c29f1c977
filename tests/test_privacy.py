"""No library reports home, and none leaves anything in the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LISTEN = """
import numpy, reflector_gpu
from reflector_gpu.audio.vad import VoiceActivity
VoiceActivity().probabilities(numpy.zeros(512, numpy.float32))
"""
DIRECTLY = "import onnxruntime"


REPORTS = "import reflector_gpu, os; print(os.environ['PYANNOTE_METRICS_ENABLED'])"


def left_by(program: str, home: Path, **variables: str) -> list[str]:
    """The files in ``home`` after ``program``, which believes to run outside of any CI."""
    dropped = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    environment = {**kept, "HOME": str(home), **variables}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


def test_the_detector_leaves_nothing_behind(tmp_path: Path) -> None:
    assert left_by(LISTEN, tmp_path) == []


def test_reporting_can_be_allowed(tmp_path: Path) -> None:
    """And so this sees the reports that the other test does not find."""
    if not left_by(DIRECTLY, _made(tmp_path / "a")):
        pytest.skip("this ONNX Runtime does not report")
    assert left_by(LISTEN, _made(tmp_path / "b"), ORT_DISABLE_TELEMETRY="0")


@pytest.mark.parametrize(("set_to", "found"), [({}, "0"), ({"PYANNOTE_METRICS_ENABLED": "1"}, "1")])
def test_pyannote_is_told_not_to_report_unless_somebody_wants_it(
    set_to: dict[str, str], found: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if "PYANNOTE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", REPORTS], env={**kept, **set_to}, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == found


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
