"""Parakeet on PyTorch on a graphics card: speed, latency, memory, and whether it hears the same.

    PYTHONPATH=src python -m benchmarks gpu [--weights FOLDER] [--seconds 420]

It needs PyTorch, transformers and NumPy, and no network: without ``--weights`` it makes a model of
the size of parakeet-tdt-0.6b-v2 of random numbers, biased so that it says three tokens a second.
What a model costs does not depend on its training. ``--small`` tries all of it on any machine in a
minute. What was found goes to standard output, and as JSON into the folder ``$OUT``, if it is set.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
import torch
import transformers
from transformers import ParakeetForTDT

from benchmarks.gpu_model import (
    calibrate,
    clips_of,
    encoded_of,
    numpy_decoded,
    pack_of,
    random_model,
)
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network, precision
from reflector_gpu.engines.recognition.parakeet.pytorch.running import CudaGraphs
from reflector_gpu.engines.recognition.parakeet.pytorch.weights import load
from reflector_gpu.runtime.preparing import Work, run_ahead
from reflector_gpu.types import Samples

Findings: TypeAlias = dict[str, object]

LONGEST = 31.0  # seconds
MOST = 1e9  # seconds of a pack: all of a batch
READY = "ready"  # what the process that keeps the card busy says once it does


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: batches of clips, and how often."""

    sizes: Sequence[int]
    lengths: Sequence[float]
    baseline: int
    rounds: int
    latencies: int
    clip: float
    file: tuple[int, float]


FULL = Plan(
    sizes=(1, 8, 32, 128, 256),
    lengths=(10.0, 30.0),
    baseline=32,
    rounds=3,
    latencies=60,
    clip=5.0,
    file=(128, 30.0),
)
SMALL = Plan(
    sizes=(1, 3), lengths=(2.0, 4.0), baseline=2, rounds=1, latencies=3, clip=1.0, file=(2, 4.0)
)


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
    plan = SMALL if chosen.small else FULL
    loaded = load(chosen.weights) if chosen.weights else random_model(small=chosen.small)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: Findings = {"machine": _machine(device)}
    network = Network(loaded, device, LONGEST, CudaGraphs() if device == "cuda" else None)
    if chosen.weights is None:
        found["tokens a second"] = calibrate(network, loaded.model)
    if chosen.load:
        _keep_busy(network, plan)
    found["seconds to load"] = time.monotonic() - began
    others = [sys.executable, "-m", "benchmarks", "gpu", *arguments, "--load"]
    for name, part in _parts(network, loaded.model, plan, others):
        found[name] = _measured(name, part, began + chosen.seconds)
        if folder := os.environ.get("OUT"):  # each time: a machine may be taken away
            Path(folder, "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _parts(
    network: Network, model: ParakeetForTDT, plan: Plan, others: Sequence[str]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is measured, the most important first. ``others`` is the command that keeps the card
    busy."""
    yield "equal to the decoder for CPUs", lambda: _equality(network, model)
    yield "latency alone", lambda: _latency(network, plan)
    yield "batch after batch", lambda: _batch_after_batch(network, plan)
    for seconds in reversed(plan.lengths):
        for size in plan.sizes:
            name = f"{size} clips of {seconds:g} s"
            yield name, partial(_batch, network, size, seconds, plan)
    yield "latency beside a full load", lambda: _latency_beside(network, plan, others)
    yield "generate of transformers", lambda: _baseline(network, model, plan)


def _measured(name: str, part: Callable[[], object], deadline: float) -> object:
    if time.monotonic() > deadline:
        return "left out for want of time"
    print(f"{name} ...", flush=True)
    try:
        return part()
    except Exception as error:  # noqa: BLE001  what fails must not cost what the others find
        traceback.print_exc()
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _equality(network: Network, model: ParakeetForTDT) -> Findings:
    """The same frames decoded on the device and by the decoder for CPUs, in float32."""
    with torch.inference_mode():
        encoded, lengths = encoded_of(network, clips_of(4, 10.0))
        ours = network.decoder(encoded, lengths, None)
        theirs = numpy_decoded(model, encoded.cpu(), lengths.cpu())
    equal = [
        one.tokens.tolist() == other.tokens.tolist()
        and one.frames.tolist() == other.frames.tolist()
        and one.durations.tolist() == other.durations.tolist()
        for one, other in zip(ours, theirs, strict=True)
    ]
    return {"rows": len(equal), "equal": sum(equal), "tokens": sum(len(o.tokens) for o in ours)}


def _batch(network: Network, size: int, seconds: float, plan: Plan) -> Findings:
    """How many times faster than real time each part is, and all of it."""
    clips = clips_of(size, seconds)
    audio = size * seconds
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        pack = pack_of(network, clips)
        features = network.features(pack.waveforms, pack.lengths)
        encoded, lengths = (one.clone() for one in network.encoder(*features))
        spent = {
            "features": _time(lambda: network.features(pack.waveforms, pack.lengths), plan.rounds),
            "encoder": _time(lambda: network.encoder(*features), plan.rounds),
            "decoding": _time(lambda: network.decoder(encoded, lengths, None), plan.rounds),
        }
    spent["all"] = _time(lambda: _decoded(network, clips), plan.rounds)
    found: Findings = {f"{name}, times real time": audio / took for name, took in spent.items()}
    found["milliseconds of all"] = spent["all"] * 1000
    found["share of decoding"] = spent["decoding"] / spent["all"]
    if torch.cuda.is_available():
        found["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def _decoded(network: Network, clips: Sequence[Samples]) -> object:
    return network.decoded(network.prepare(clips, MOST))


def _baseline(network: Network, model: ParakeetForTDT, plan: Plan) -> Findings:
    """transformers' own generate on the same features, beside our encoder and decoding."""
    size, seconds = plan.baseline, plan.lengths[0]
    with torch.inference_mode():
        pack = pack_of(network, clips_of(size, seconds))
        features, mask = network.features(pack.waveforms, pack.lengths)

        def theirs() -> object:
            half = torch.autocast("cuda", precision("cuda")) if features.is_cuda else nullcontext()
            with half:
                return model.generate(
                    input_features=features,
                    attention_mask=mask,
                    decoder_start_token_id=model.config.blank_token_id,
                )

        def ours() -> object:
            return network.decoder(*network.encoder(features, mask), None)

        generate, own = _time(theirs, 1), _time(ours, plan.rounds)
    return {
        "batch": f"{size} clips of {seconds:g} s",
        "generate, times real time": size * seconds / generate,
        "ours, times real time": size * seconds / own,
        "ours / generate": generate / own,
    }


def _latency(network: Network, plan: Plan) -> Findings:
    """Milliseconds for one clip."""
    clip = clips_of(1, plan.clip)
    _decoded(network, clip)
    spent = [_time(lambda: _decoded(network, clip), 1, warm=False) for _ in range(plan.latencies)]
    return {
        "clip": f"{plan.clip:g} s",
        "p50, ms": 1000 * median(spent),
        "p95, ms": 1000 * float(np.quantile(spent, 0.95)),
    }


def _latency_beside(network: Network, plan: Plan, others: Sequence[str]) -> Findings:
    """The same while another process keeps the card busy with files, as in the service."""
    size, seconds = plan.file
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with _running(others):
        return {"load": f"batches of {size} clips of {seconds:g} s", **_latency(network, plan)}


@contextmanager
def _running(command: Sequence[str]) -> Iterator[None]:
    """Run ``command``, from when it says that it is ready."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not any(line.startswith(READY) for line in process.stdout):
                raise RuntimeError("the process that keeps the card busy has ended")
            yield
        finally:
            process.kill()


def _keep_busy(network: Network, plan: Plan) -> None:
    """Work on files until this process is killed."""
    clips = clips_of(*plan.file)
    _decoded(network, clips)
    print(READY, flush=True)
    while True:
        run_ahead(_prepared(network, clips, 100), _read)


def _batch_after_batch(network: Network, plan: Plan) -> Findings:
    """Whether the card idles between batches, each prepared while the one before is in work."""
    size, seconds = plan.file
    clips = clips_of(size, seconds)
    batches = 2 + 2 * plan.rounds
    _decoded(network, clips)
    _wait()
    began = time.perf_counter()
    run_ahead(_prepared(network, clips, batches), _read)
    wall = time.perf_counter() - began
    found: Findings = {
        "batches": f"{batches} of {size} clips of {seconds:g} s",
        "times real time": batches * size * seconds / wall,
    }
    if torch.cuda.is_available():
        found |= _gaps(lambda: run_ahead(_prepared(network, clips, batches), _read))
    return found


def _prepared(
    network: Network, clips: Sequence[Samples], batches: int
) -> Callable[[], Work | None]:
    """What prepares so many batches, one at each call."""
    left = iter(range(batches))

    def prepare() -> Work | None:
        if next(left, None) is None:
            return None
        prepared = network.prepare(clips, MOST)
        return lambda: network.decoded(prepared)

    return prepare


def _read(work: Work) -> None:
    list(work())


def _gaps(work: Callable[[], None]) -> Findings:
    """The share of time in which the card works, and how long it idles at most."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        wall = time.perf_counter() - began
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    busy, end = 0.0, -math.inf
    gaps: list[float] = []
    for start, stop in spans:
        if start > end > 0:
            gaps.append(start - end)
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    gaps.sort(reverse=True)
    return {
        "share of time in which the card works": busy / 1e6 / wall,
        "longest gaps, ms": [gap / 1000 for gap in gaps[:10]],
    }


def _time(work: Callable[[], object], rounds: int, *, warm: bool = True) -> float:
    """The median of the seconds that ``work`` takes, once it has been done before."""
    if warm:
        work()
    spent = []
    for _ in range(rounds):
        _wait()
        began = time.perf_counter()
        work()
        _wait()
        spent.append(time.perf_counter() - began)
    return median(spent)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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
        found |= {"card": properties.name, "GB": properties.total_memory / 1e9}
    return found
