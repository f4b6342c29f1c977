"""How long until one can do anything: the help, and a server that is ready."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.timing import seconds

ROUNDS = 5
HELP, READY = 0.4, 3.0
IMPORTS = "import fastapi, uvicorn, numpy, onnxruntime, av"


def run() -> list[Figure]:
    help_, ready, imports = list[float](), list[float](), list[float]()
    for _ in range(ROUNDS):
        help_.append(seconds(lambda: _python("-m", "reflector_gpu", "--help")))
        ready.append(_ready())
        imports.append(seconds(lambda: _python("-c", IMPORTS)))
    partner = statistics.median(imports)
    ratio = statistics.median(ready) / partner
    beside = f"; {ratio:.1f} times the {partner:.2f} s of '{IMPORTS}'"
    return [
        _figure("seconds to --help", help_, HELP),
        _figure("seconds to ready, embedded profile", ready, READY, beside),
    ]


def _figure(name: str, taken: list[float], limit: float, beside: str = "") -> Figure:
    value = statistics.median(taken)
    spread = f"{min(taken):.2f} to {max(taken):.2f}"
    return Figure(name, value, f"<= {limit:g}", value <= limit, spread + beside)


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def _ready() -> float:
    """Until it says so: that it ends again takes time as well."""
    began = time.perf_counter()
    with Server(profile="embedded") as server, server.client() as client:
        client.get("/health/ready").raise_for_status()
        return time.perf_counter() - began
