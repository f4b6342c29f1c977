"""What was measured when and on what: one line of JSON for every benchmark that ran."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Figure

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


def values(name: str) -> list[float]:
    """What the figure ``name`` was, the oldest first."""
    return [figure.value for run in runs() for figure in run.figures if figure.name == name]


def _machine() -> dict[str, object]:
    """What figures depend on."""
    return {
        "commit": _output("git", "describe", "--always", "--dirty"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
