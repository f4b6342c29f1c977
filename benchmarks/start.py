"""How long until one can do anything: the help, and a server that is ready."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.server import Server

ROUNDS = 5
HELP, READY = 0.4, 3.0


def run() -> list[Figure]:
    return [
        _figure("seconds to --help", _help, HELP),
        _figure("seconds to ready, embedded profile", _ready, READY),
    ]


def _figure(name: str, do: Callable[[], None], limit: float) -> Figure:
    taken: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        do()
        taken.append(time.perf_counter() - began)
    value = statistics.median(taken)
    spread = f"{min(taken):.2f} to {max(taken):.2f}"
    return Figure(name, value, f"<= {limit:g}", value <= limit, spread)


def _help() -> None:
    command = [sys.executable, "-m", "reflector_gpu", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _ready() -> None:
    with Server(profile="embedded") as server, server.client() as client:
        client.get("/health/ready").raise_for_status()
