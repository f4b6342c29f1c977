"""What was measured when and on what: one line of JSON for every run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Figure

PATH = Path(__file__).parent / "history.jsonl"

_LIBRARIES = ("av", "ctranslate2", "faster-whisper", "numpy", "onnxruntime", "onnx-asr")


def add(figures: Iterable[Figure]) -> None:
    """Write one more run behind those before it."""
    run = {**surroundings(), "figures": [figure.row() for figure in figures]}
    with PATH.open("a") as file:
        file.write(json.dumps(run) + "\n")


def runs() -> Iterator[dict[str, object]]:
    """All runs, the oldest first."""
    if PATH.exists():
        yield from map(json.loads, PATH.read_text().splitlines())


def values(name: str) -> Sequence[tuple[datetime, float]]:
    """When the figure ``name`` was measured, and what it was."""
    found: list[tuple[datetime, float]] = []
    for run in runs():
        figures = run["figures"]
        assert isinstance(figures, list)
        when = datetime.fromisoformat(str(run["when"]))
        found += [(when, float(row["value"])) for row in figures if row["name"] == name]
    return found


def surroundings() -> dict[str, object]:
    """The machine and the versions that figures depend on."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
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
