"""The benchmark for graphics cards runs on a machine that has nothing but PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
    for name in ("1 clips of 2 s", "3 clips of 4 s"):
        assert {"features, times real time", "all, times real time"} <= set(found[name])
    assert found["generate of transformers"]["ours / generate"] > 0
    assert found["batch after batch"]["times real time"] > 0
    assert found["latency alone"]["p50, ms"] > 0
    assert found["latency beside a full load"]["p95, ms"] > 0
