"""Run every benchmark, or those named, such as ``python -m benchmarks accuracy memory``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    accuracy,
    cluster,
    deaths,
    diarization,
    first_word,
    history,
    jobs,
    latency,
    load,
    memory,
    overhead,
    pipeline,
    real_speed,
    realtime,
    recognisers,
    rendering,
    sessions,
    start,
    streaming,
    tdt,
    throughput,
    translation,
)
from benchmarks.figures import Figure, print_table

BENCHMARKS: Mapping[str, Callable[[], list[Figure]]] = {
    "accuracy": accuracy.run,
    "deaths": deaths.run,
    "diarization": diarization.run,
    "first_word": first_word.run,
    "jobs": jobs.run,
    "latency": latency.run,
    "load": load.run,
    "memory": memory.run,
    "overhead": overhead.run,
    "pipeline": pipeline.run,
    "real_speed": real_speed.run,
    "ray": cluster.run,
    "realtime": realtime.run,
    "recognisers": recognisers.run,
    "rendering": rendering.run,
    "sessions": sessions.run,
    "start": start.run,
    "streaming": streaming.run,
    "tdt": tdt.run,
    "throughput": throughput.run,
    "translation": translation.run,
}
QUICK: Mapping[str, Callable[[], list[Figure]]] = {"accuracy": accuracy.run_quick}
_OTHER = "  gpu            Parakeet on a graphics card; see python -m benchmarks gpu --help"
RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    arguments = _parser().parse_args()
    known = QUICK if arguments.quick else BENCHMARKS
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        kind = "quick benchmark" if arguments.quick else "benchmark"
        sys.exit(f"No such {kind}: {', '.join(unknown)}. There are: {', '.join(known)}.")
    found: dict[str, list[Figure]] = {}
    try:
        for name in arguments.names or known:
            print(f"{name} ...", file=sys.stderr)
            found[name] = known[name]()
            if not arguments.quick:
                history.add(name, found[name])
    finally:  # what was measured before somebody lost patience is worth as much
        print_table([figure for figures in found.values() for figure in figures])
        if not arguments.quick:
            keep(found)
            print(f"written to {RESULTS}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run benchmarks, print a table of their figures, and add them to the history.",
        epilog="\n".join(["benchmarks:", *map(_described, BENCHMARKS), _OTHER]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all without any")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"a small part, for a first look; nothing is kept (only: {', '.join(QUICK)})",
    )
    return parser


def _described(name: str) -> str:
    """What the first line of its module says."""
    text = sys.modules[BENCHMARKS[name].__module__].__doc__ or ""
    return f"  {name:15}{text.strip().splitlines()[0]}"


def keep(found: Mapping[str, Sequence[Figure]]) -> None:
    """Write the figures of each benchmark over its own, and leave those of others."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not isinstance(known, dict):  # a list, as it once was
        known = {}
    known |= {name: [figure.row() for figure in figures] for name, figures in found.items()}
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")
