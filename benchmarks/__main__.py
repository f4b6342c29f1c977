"""Run every benchmark, or those named, such as ``python -m benchmarks accuracy memory``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
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
    "tdt": tdt.run,
    "throughput": throughput.run,
    "translation": translation.run,
}
RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    unknown = [name for name in sys.argv[1:] if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"No such benchmark: {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.")
    figures: list[Figure] = []
    try:
        for name in sys.argv[1:] or BENCHMARKS:
            print(f"{name} ...", file=sys.stderr)
            found = BENCHMARKS[name]()
            history.add(name, found)
            figures += found
    finally:  # what was measured before somebody lost patience is worth as much
        print_table(figures)
        RESULTS.write_text(json.dumps([figure.row() for figure in figures], indent=1) + "\n")
        print(f"written to {RESULTS.relative_to(Path.cwd())}", file=sys.stderr)


if __name__ == "__main__":
    main()
