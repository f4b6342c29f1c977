"""Run every benchmark, or those named, such as ``python -m benchmarks accuracy memory``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    accuracy,
    diarization,
    first_word,
    history,
    latency,
    load,
    memory,
    overhead,
    pipeline,
    recognisers,
    start,
    streaming,
    tdt,
    throughput,
    translation,
)
from benchmarks.figures import Figure, print_table

BENCHMARKS: Mapping[str, Callable[[], list[Figure]]] = {
    "accuracy": accuracy.run,
    "diarization": diarization.run,
    "first_word": first_word.run,
    "latency": latency.run,
    "load": load.run,
    "memory": memory.run,
    "overhead": overhead.run,
    "pipeline": pipeline.run,
    "recognisers": recognisers.run,
    "start": start.run,
    "streaming": streaming.run,
    "tdt": tdt.run,
    "throughput": throughput.run,
    "translation": translation.run,
}
RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    unknown = [name for name in sys.argv[1:] if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"No such benchmark: {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.")
    found: dict[str, list[Figure]] = {}
    try:
        for name in sys.argv[1:] or BENCHMARKS:
            print(f"{name} ...", file=sys.stderr)
            found[name] = BENCHMARKS[name]()
            history.add(name, found[name])
    finally:  # what was measured before somebody lost patience is worth as much
        print_table([figure for figures in found.values() for figure in figures])
        keep(found)
        print(f"written to {RESULTS}", file=sys.stderr)


def keep(found: Mapping[str, Sequence[Figure]]) -> None:
    """Write the figures of each benchmark over its own, and leave those of others."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not isinstance(known, dict):  # a list, as it once was
        known = {}
    known |= {name: [figure.row() for figure in figures] for name, figures in found.items()}
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
