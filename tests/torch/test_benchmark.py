"""The benchmark for graphics cards runs on a machine that has nothing but PyTorch."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmarks.gpu import TARGETS, Report, missed

ROOT = Path(__file__).parent.parent.parent

ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Bare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        absent = "av fastapi langcodes onnx_asr prometheus_client pydantic pytest tests uvicorn"
        if name.partition(".")[0] in absent.split():
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Bare())
sys.argv = ["benchmarks", "gpu", "--small"]
import runpy
runpy.run_module("benchmarks", run_name="__main__")
"""


def test_all_of_it_in_small(tmp_path: Path) -> None:
    variables = {"OUT": str(tmp_path), "PYTHONPATH": f"{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **variables},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["equal to the decoder for CPUs"]["equal"] == 4
    assert found["equal to the decoder for CPUs"]["tokens"] > 40
    assert 1 < found["tokens a second"] < 6
    for name in ("1 clips of 2 s", "2 clips of 4 s", "3 clips of 4 s"):
        assert {"features, times real time", "all, times real time"} <= set(found[name])
    assert found["generate of transformers"]["ours / generate"] > 0
    assert found["batch after batch"]["times real time"] > 0
    assert found["latency alone"]["p50, ms"] > 0
    assert found["latency beside a full load"]["p95, ms"] > 0
    for name in ("kernels of a batch", "kernels of one clip"):
        assert any("aten::" in line for line in found[name])
    assert any(line.startswith("128 clips of 30 s") for line in found["targets that are missed"])


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUT", str(tmp_path / "new"))
    return tmp_path / "new" / "gpu.json"


def fail(error: BaseException) -> None:
    raise error


def test_a_part_that_fails_costs_its_own_figures_alone(written: Path) -> None:
    report = Report(math.inf)
    report.add("first", lambda: {"ms": 1.5})
    assert report.add("second", partial(fail, RuntimeError("CUDA error: no\nmore"))) is None
    assert report.add("third", partial(fail, SystemExit(1))) is None
    report.add("fourth", partial(logging.getLogger("any").warning, "without graphs"))
    assert json.loads(written.read_text()) == {
        "first": {"ms": 1.5},
        "second": "RuntimeError: CUDA error: no",
        "third": "SystemExit: 1",
        "fourth": "ready",
        "warnings": ["without graphs"],
    }


def test_what_there_is_no_time_for_is_left_out(written: Path) -> None:
    Report(-math.inf).add("late", partial(fail, AssertionError("it was begun")))
    assert json.loads(written.read_text()) == {"late": "left out for want of time"}


def test_figures_are_compared_with_what_they_should_be() -> None:
    found = {target.part: dict[str, float]() for target in TARGETS}
    for target in TARGETS:
        found[target.part][target.figure] = max(target.least, min(target.most, 1e9))
    assert missed(found) == []
    found["latency alone"]["p50, ms"] = 26.5
    del found["batch after batch"]
    assert missed(found) == [
        "latency alone: p50, ms is 26.5, should be <= 25",
        "batch after batch: times real time is not measured, should be >= 12000",
    ]
