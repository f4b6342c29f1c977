"""Parakeet on PyTorch on a graphics card: speed, latency, memory, and whether it hears the same.

    PYTHONPATH=src python -m benchmarks gpu [--weights FOLDER] [--seconds 420]

It needs PyTorch, transformers and NumPy, and no network: without ``--weights`` it makes a model of
the size of parakeet-tdt-0.6b-v2 of random numbers, biased so that it says three tokens a second.
What a model costs does not depend on its training. ``--small`` tries all of it on any machine in a
minute. What each part found goes to standard output at once, and all of it as JSON into the folder
``$OUT``, if that is set. A part that fails costs its own figures alone.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
import transformers
from transformers import ParakeetForTDT

from benchmarks import gpu_parts as parts
from benchmarks.gpu_model import calibrate, random_model
from benchmarks.gpu_parts import FULL, SMALL, Findings, Plan
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network, precision
from reflector_gpu.engines.recognition.parakeet.pytorch.running import CudaGraphs
from reflector_gpu.engines.recognition.parakeet.pytorch.weights import Loaded, load

Part: TypeAlias = Callable[[], object]

LONGEST = 31.0  # seconds
HUNG = 60.0  # seconds beyond the time that is given, after which a part will not end by itself


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be, at least or at most."""

    part: str
    figure: str
    least: float = float("-inf")
    most: float = float("inf")


TARGETS = (
    Target("equal to the decoder for CPUs", "share", least=1.0),
    Target("latency alone", "p50, ms", most=25.0),
    Target("latency beside a full load", "p95, ms", most=75.0),
    Target("128 clips of 30 s", "all, times real time", least=12_000),
    Target("128 clips of 30 s", "share of decoding", most=1 / 3),
    Target("generate of transformers", "ours / generate", least=3.0),
    Target("batch after batch", "times real time", least=12_000),
)
"""For an H100."""


def main(arguments: Sequence[str]) -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--small", action="store_true", help="a tiny model and tiny batches")
    parser.add_argument("--weights", type=Path, help="the folder of a real model")
    parser.add_argument("--seconds", type=float, default=420.0, help="begin nothing after these")
    parser.add_argument("--load", action="store_true", help="only keep the card busy, until killed")
    chosen = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not chosen.small:
        parser.error("PyTorch finds no card here. --small tries all of this on a CPU.")
    plan = SMALL if chosen.small else FULL
    if chosen.load:
        parts.keep_busy(_network(_model(chosen.weights, plan, device), device), plan)
    report = Report(began + chosen.seconds)
    # If a part hangs, what the others found is there, and where it hangs is told.
    faulthandler.dump_traceback_later(chosen.seconds + HUNG, exit=True)
    report.add("machine", partial(_machine, device))
    model = report.add("model", partial(_model, chosen.weights, plan, device))
    others = [sys.executable, "-m", "benchmarks", "gpu", *arguments, "--load"]
    if isinstance(model, Loaded):
        network = report.add("network", partial(_network, model, device))
        if isinstance(network, Network):
            if chosen.weights is None:
                report.add("tokens a second", partial(calibrate, network, model.model))
            for name, part in _parts(network, model.model, plan, others):
                report.add(name, part)
    report.add("seconds", lambda: time.monotonic() - began)
    report.add("targets that are missed", partial(missed, report.found))
    faulthandler.cancel_dump_traceback_later()


class Report:
    """What was found. Nothing begins after ``deadline``, by the monotonic clock."""

    def __init__(self, deadline: float) -> None:
        self.found: dict[str, object] = {}
        self._deadline = deadline
        self._warnings = Warnings()
        logging.getLogger().addHandler(self._warnings)

    def add(self, name: str, part: Part) -> object:
        """The result of ``part``, or None if it failed or there was no time for it."""
        result, said = self._result(part)
        self.found[name] = said
        if self._warnings.texts:
            self.found["warnings"] = self._warnings.texts
        print(f"{name}: {json.dumps(said)}", flush=True)
        if folder := os.environ.get("OUT"):  # each time: a machine may be taken away
            Path(folder).mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.found, indent=1) + "\n"
            Path(folder, "gpu.json").write_text(text, encoding="utf-8")
        return result

    def _result(self, part: Part) -> tuple[object, object]:
        if time.monotonic() > self._deadline:
            return None, "left out for want of time"
        try:
            result = part()
        except (Exception, SystemExit) as error:  # noqa: BLE001  it must not cost the others
            traceback.print_exc()
            return None, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        plain = isinstance(result, dict | list | float | int | str)
        return result, result if plain else "ready"


class Warnings(logging.Handler):
    """Keeps what is logged as a warning: what runs without graphs, for example."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def missed(found: Mapping[str, object]) -> list[str]:
    """What is not as `TARGETS` say. What was not measured is missed as well."""
    texts: list[str] = []
    for target in TARGETS:
        part = found.get(target.part)
        value = part.get(target.figure) if isinstance(part, dict) else None
        if isinstance(value, float | int) and target.least <= value <= target.most:
            continue
        wanted = f">= {target.least:g}" if target.least > 0 else f"<= {target.most:g}"
        figure = f"{value:g}" if isinstance(value, float | int) else "not measured"
        texts.append(f"{target.part}: {target.figure} is {figure}, should be {wanted}")
    return texts


def _parts(
    network: Network, model: ParakeetForTDT, plan: Plan, others: Sequence[str]
) -> Iterator[tuple[str, Part]]:
    """What is measured, the most important first. ``others`` is the command that keeps the card
    busy."""
    size, length = plan.file
    yield "equal to the decoder for CPUs", partial(parts.equality, network, model)
    yield "latency alone", partial(parts.latency, network, plan)
    yield f"{size} clips of {length:g} s", partial(parts.batch, network, size, length, plan)
    yield "batch after batch", partial(parts.batch_after_batch, network, plan)
    yield "kernels of a batch", partial(parts.kernels, network, size, length)
    yield "kernels of one clip", partial(parts.kernels, network, 1, plan.clip)
    yield "generate of transformers", partial(parts.baseline, network, model, plan)
    yield "latency beside a full load", partial(parts.latency_beside, network, plan, others)
    for seconds in reversed(plan.lengths):
        for count in plan.sizes:
            if (count, seconds) != plan.file:
                name = f"{count} clips of {seconds:g} s"
                yield name, partial(parts.batch, network, count, seconds, plan)


def _model(weights: Path | None, plan: Plan, device: str) -> Loaded:
    if weights:
        return load(weights)
    with torch.device(device):  # a CPU takes half a minute for so many random numbers
        return random_model(small=plan is SMALL)


def _network(model: Loaded, device: str) -> Network:
    return Network(model, device, LONGEST, CudaGraphs() if device == "cuda" else None)


def _machine(device: str) -> Findings:
    found: Findings = {
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "precision": str(precision(device)),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "card": properties.name,
            "GB": properties.total_memory / 1e9,
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }
    return found
