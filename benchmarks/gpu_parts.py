"""What `benchmarks.gpu` measures."""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

import numpy as np
import torch
from transformers import ParakeetForTDT

from benchmarks.gpu_model import clips_of, encoded_of, numpy_decoded, pack_of
from reflector_gpu.engines.recognition.parakeet.pytorch.budget import Budget
from reflector_gpu.engines.recognition.parakeet.pytorch.engine import Loaded
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network, precision
from reflector_gpu.runtime.preparing import Work, run_ahead
from reflector_gpu.types import Samples

Findings: TypeAlias = dict[str, object]

MOST = 1e9  # seconds of a pack: all of a batch
READY = "ready"  # what the process that keeps the card busy says once it does
LISTED = 12  # kernels that take the most time


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


def equality(network: Network, model: ParakeetForTDT) -> Findings:
    """The same frames decoded on the device, and on the CPU by the decoder for it."""
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
    return {
        "rows": len(equal),
        "equal": sum(equal),
        "share": sum(equal) / len(equal),
        "tokens": sum(len(o.tokens) for o in ours),
    }


def batch(network: Network, size: int, seconds: float, plan: Plan) -> Findings:
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


def baseline(network: Network, model: ParakeetForTDT, plan: Plan) -> Findings:
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


def latency(network: Network, plan: Plan) -> Findings:
    """Milliseconds for one clip."""
    clip = clips_of(1, plan.clip)
    _decoded(network, clip)
    spent = [_time(lambda: _decoded(network, clip), 1, warm=False) for _ in range(plan.latencies)]
    return {
        "clip": f"{plan.clip:g} s",
        "p50, ms": 1000 * median(spent),
        "p95, ms": 1000 * float(np.quantile(spent, 0.95)),
    }


def latency_beside(network: Network, plan: Plan, others: Sequence[str]) -> Findings:
    """The same while another process keeps the card busy with files, as in the service."""
    size, seconds = plan.file
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with _running(others):
        return {"load": f"batches of {size} clips of {seconds:g} s", **latency(network, plan)}


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


def keep_busy(network: Network, plan: Plan) -> None:
    """Work on files until this process is killed, or the one that started it is gone."""
    parent = os.getppid()
    clips = clips_of(*plan.file)
    _decoded(network, clips)
    print(READY, flush=True)
    while os.getppid() == parent:
        _work_on_files(network, clips, 10)


def batch_after_batch(network: Network, plan: Plan) -> Findings:
    """Whether the card idles between batches: each is prepared while the one before is in work, and
    words are made of those before that, as in the service."""
    size, seconds = plan.file
    clips = clips_of(size, seconds)
    batches = 2 + 2 * plan.rounds
    _decoded(network, clips)
    _wait()
    began = time.perf_counter()
    run_ahead(_prepared(network, clips, batches), _read)
    without = time.perf_counter() - began
    began = time.perf_counter()
    _work_on_files(network, clips, batches)
    wall = time.perf_counter() - began
    audio = batches * size * seconds
    found: Findings = {
        "batches": f"{batches} of {size} clips of {seconds:g} s",
        "times real time": audio / wall,
        "without making words, times real time": audio / without,
    }
    if torch.cuda.is_available():
        found |= _gaps(lambda: _work_on_files(network, clips, 3))
    return found


def _work_on_files(network: Network, clips: Sequence[Samples], batches: int) -> None:
    """As a worker does it."""
    loaded = Loaded.of(network, Budget(network, MOST))
    left = iter(range(batches))

    def prepare() -> Work | None:
        if next(left, None) is None:
            return None
        decoded = loaded.prepare(clips, ())
        return lambda: loaded.heard(decoded(), clips, "en")

    try:
        run_ahead(prepare, _read)
    finally:
        loaded.threads.shutdown()


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


def kernels(network: Network, size: int, seconds: float) -> list[str]:
    """Which operators take the most time on the device."""
    clips = clips_of(size, seconds)
    _decoded(network, clips)
    cuda = torch.cuda.is_available()
    kind = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kind.CUDA if cuda else kind.CPU]) as profile:
        _decoded(network, clips)
        _wait()
    field = "self_device_time_total" if cuda else "self_cpu_time_total"
    spent = [(getattr(one, field), one.count, one.key) for one in profile.key_averages()]
    total = sum(microseconds for microseconds, *_ in spent) or 1.0
    return [
        f"{total / 1000:.1f} ms in all",
        *(
            f"{microseconds / total:.1%} {count} times {name[:80]}"
            for microseconds, count, name in sorted(spent, reverse=True)[:LISTED]
        ),
    ]


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
