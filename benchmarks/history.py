"""What was measured when and on what: one line of JSON for every benchmark that ran."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from reflector_gpu.service.worker_pools import available_cores

ROOT = Path(__file__).parent.parent
PATH = Path(__file__).parent / "history.jsonl"

_LIBRARIES = ("av", "ctranslate2", "faster-whisper", "numpy", "onnxruntime", "onnx-asr")


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark, once: ``machine`` has its processor, versions and commit."""

    benchmark: str
    when: datetime
    machine: Mapping[str, object]
    figures: Sequence[Figure]


def add(benchmark: str, figures: Sequence[Figure]) -> None:
    """Write one more run behind those before it."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [figure.row() for figure in figures]
    run = {"benchmark": benchmark, "when": when, "machine": _machine(), "figures": rows}
    with PATH.open("a") as file:
        file.write(json.dumps(run) + "\n")


def runs() -> list[Run]:
    """All runs, the oldest first."""
    lines = PATH.read_text().splitlines() if PATH.exists() else []
    return [
        Run(
            run["benchmark"],
            datetime.fromisoformat(run["when"]),
            run["machine"],
            [Figure(**row) for row in run["figures"]],
        )
        for run in map(json.loads, lines)
    ]


def newest() -> Mapping[str, Run]:
    """The last run of every benchmark."""
    return {run.benchmark: run for run in runs()}


def values(name: str) -> list[tuple[datetime, float]]:
    """What the figure ``name`` was and when, the oldest first."""
    return [
        (run.when, figure.value) for run in runs() for figure in run.figures if figure.name == name
    ]


def _machine() -> dict[str, object]:
    """What figures depend on."""
    return {
        "commit": _commit(),
        "cores": available_cores(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "platform": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def _commit() -> str:
    """With -dirty where what ran is not what was committed."""
    changed = _git("status", "--porcelain", "src", "benchmarks/*.py", "constraints.txt")
    return _git("describe", "--always") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    known = Path("/proc/cpuinfo")  # Linux
    for line in known.read_text().splitlines() if known.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
