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
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
import torch
import transformers
from transformers import ParakeetEncoderConfig, ParakeetForTDT, ParakeetTDTConfig

from reflector_gpu.engines.recognition.parakeet import tdt
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network, Pack, precision
from reflector_gpu.engines.recognition.parakeet.pytorch.running import CudaGraphs
from reflector_gpu.engines.recognition.parakeet.pytorch.weights import Loaded, load
from reflector_gpu.types import SAMPLE_RATE, Samples

Findings: TypeAlias = dict[str, object]

TOKENS_PER_SECOND = 3.0
LONGEST = 31.0  # seconds
MOST = 1e9  # seconds of a pack: all of a batch


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
    file=(16, 30.0),
)
SMALL = Plan(
    sizes=(1, 3), lengths=(2.0, 4.0), baseline=2, rounds=1, latencies=3, clip=1.0, file=(2, 4.0)
)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--small", action="store_true", help="a tiny model and tiny batches")
    parser.add_argument("--weights", type=Path, help="the folder of a real model")
    parser.add_argument("--seconds", type=float, default=420.0, help="begin nothing after these")
    chosen = parser.parse_args(arguments)
    found = measure(
        SMALL if chosen.small else FULL,
        load(chosen.weights) if chosen.weights else random_model(small=chosen.small),
        time.monotonic() + chosen.seconds,
        biased=chosen.weights is None,
    )
    print(json.dumps(found, indent=1))
    if folder := os.environ.get("OUT"):
        Path(folder, "gpu.json").write_text(json.dumps(found, indent=1) + "\n")


def measure(plan: Plan, loaded: Loaded, deadline: float, *, biased: bool) -> Findings:
    """All figures. What would begin after the ``deadline`` is left out."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: Findings = {"machine": _machine(device)}
    began = time.monotonic()
    network = Network(loaded, device, LONGEST, CudaGraphs() if device == "cuda" else None)
    if biased:
        found["tokens a second"] = _calibrate(network, loaded.model)
    found["seconds to load"] = time.monotonic() - began
    parts: Sequence[tuple[str, Callable[[], object]]] = (
        ("equal to the decoder for CPUs", lambda: _equality(network, loaded.model)),
        ("latency", lambda: _latency(network, plan)),
        *(
            (
                f"{size} clips of {seconds:g} s",
                lambda s=size, t=seconds: _batch(network, s, t, plan),
            )
            for seconds in plan.lengths
            for size in plan.sizes
        ),
        ("generate of transformers", lambda: _baseline(network, loaded.model, plan)),
        ("busy", lambda: _busy(network, plan)),
    )
    for name, part in parts:
        if time.monotonic() > deadline:
            found[name] = "left out for want of time"
            continue
        print(f"{name} ...", flush=True)
        try:
            found[name] = part()
        except torch.OutOfMemoryError as error:
            found[name] = str(error).partition("\n")[0]
            torch.cuda.empty_cache()
    return found


def random_model(*, small: bool) -> Loaded:
    """A TDT model of random numbers, as large as v2 unless it is to be ``small``."""
    torch.manual_seed(0)
    size = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128} if small else {}
    encoder = ParakeetEncoderConfig(
        num_mel_bins=128,
        attention_bias=False,
        convolution_bias=False,
        scale_input=False,
        subsampling_conv_channels=16 if small else 256,
        **size,
    )
    config = ParakeetTDTConfig(
        vocab_size=1025,
        blank_token_id=1024,
        decoder_hidden_size=64 if small else 640,
        encoder_config=encoder,
    )
    model = ParakeetForTDT(config).eval()
    width = config.decoder_hidden_size
    with torch.no_grad():
        model.decoder.embedding.weight.normal_()
        model.decoder.decoder_projector.weight.normal_(std=3 * width**-0.5)
        model.encoder_projector.weight.normal_(std=encoder.hidden_size**-0.5)
        head = model.joint.head
        head.weight.normal_(std=8 * width**-0.5)
        # What a rectifier lets through has a mean, by which a few tokens would always win.
        head.weight -= head.weight.mean(dim=1, keepdim=True)
        head.bias.zero_()
        # Far below the tokens, because generate takes the greatest of all for a token.
        head.bias[1025:] = torch.tensor([-1.2, 0.8, 0.6, 0.2, 0.0]) * 6.4 - 1000
    return Loaded(model, tuple(f" {index}" for index in range(1025)))


def _calibrate(network: Network, model: ParakeetForTDT, seconds: float = 10.0) -> float:
    """Bias the blank until about `TOKENS_PER_SECOND` are said; how many are said then."""
    blank, bias = model.config.blank_token_id, model.joint.head.bias
    low, high, rate = -100.0, 200.0, 0.0
    with torch.inference_mode():
        encoded, lengths = _encoded(network, _clips(4, seconds))
        encoded = _spread(model.encoder_projector, encoded)
        for _ in range(14):
            middle = (low + high) / 2
            bias[blank] = middle
            rate = sum(len(o.tokens) for o in network.decoder(encoded, lengths, None)) / (
                4 * seconds
            )
            low, high = (middle, high) if rate > TOKENS_PER_SECOND else (low, middle)
    return rate


def _spread(projector: torch.nn.Linear, encoded: torch.Tensor) -> torch.Tensor:
    """Have frames differ as those of a trained encoder do; ``encoded`` as it is then.

    What random weights make of sound is nearly the same at all times.
    """
    frames = encoded.flatten(0, 1)
    mean, deviation = frames.mean(0), frames.std(0) + 1e-6
    projector.weight /= deviation[:, None]
    projector.bias.sub_(mean).div_(deviation)
    return (encoded - mean) / deviation


def _equality(network: Network, model: ParakeetForTDT) -> Findings:
    """The same frames decoded on the device and by the decoder for CPUs, in float32."""
    with torch.inference_mode():
        encoded, lengths = _encoded(network, _clips(4, 10.0))
        ours = network.decoder(encoded, lengths, None)
        theirs = _numpy_decoded(model, encoded.cpu(), lengths.cpu())
    equal = [
        one.tokens.tolist() == other.tokens.tolist()
        and one.frames.tolist() == other.frames.tolist()
        and one.durations.tolist() == other.durations.tolist()
        for one, other in zip(ours, theirs, strict=True)
    ]
    return {"rows": len(equal), "equal": sum(equal), "tokens": sum(len(o.tokens) for o in ours)}


def _numpy_decoded(
    model: ParakeetForTDT, encoded: torch.Tensor, lengths: torch.Tensor
) -> list[tdt.Decoded]:
    decoder, head, config = model.decoder, model.joint.head, model.config
    device = head.weight.device

    def joint(
        frames: tdt.Floats, last: tdt.Ints, states: tdt.States
    ) -> tuple[tdt.Floats, tdt.States]:
        given = decoder.embedding(torch.from_numpy(last).to(device))[:, None]
        before = tuple(torch.from_numpy(state.copy()).to(device) for state in states)
        output, after = decoder.lstm(given, before)
        both = torch.from_numpy(frames).to(device) + decoder.decoder_projector(output)[:, 0]
        logits = head(model.joint.activation(both)).cpu().numpy()
        return logits, (after[0].cpu().numpy(), after[1].cpu().numpy())

    shape = (config.num_decoder_layers, len(lengths), config.decoder_hidden_size)
    return tdt.greedy(
        encoded.numpy(),
        lengths.long().numpy(),
        joint,
        (np.zeros(shape, np.float32), np.zeros(shape, np.float32)),
        vocabulary=config.vocab_size,
        blank=config.blank_token_id,
        max_symbols=config.max_symbols_per_step,
    )


def _batch(network: Network, size: int, seconds: float, plan: Plan) -> Findings:
    """How many times faster than real time each part is, and all of it."""
    clips = _clips(size, seconds)
    audio = size * seconds
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        pack = _pack(network, clips)
        features = network.features(pack.waveforms, pack.lengths)
        encoded, lengths = (one.clone() for one in network.encoder(*features))
        spent = {
            "features": _time(lambda: network.features(pack.waveforms, pack.lengths), plan.rounds),
            "encoder": _time(lambda: network.encoder(*features), plan.rounds),
            "decoding": _time(lambda: network.decoder(encoded, lengths, None), plan.rounds),
        }
    spent["all"] = _time(lambda: network.decoded(clips, MOST), plan.rounds)
    found: Findings = {f"{name}, times real time": audio / took for name, took in spent.items()}
    found["milliseconds of all"] = spent["all"] * 1000
    found["share of decoding"] = spent["decoding"] / spent["all"]
    if torch.cuda.is_available():
        found["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def _baseline(network: Network, model: ParakeetForTDT, plan: Plan) -> Findings:
    """transformers' own generate on the same features, beside our encoder and decoding."""
    size, seconds = plan.baseline, plan.lengths[0]
    with torch.inference_mode():
        pack = _pack(network, _clips(size, seconds))
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
    """Milliseconds for one clip, on an idle card, and behind batches of a file.

    A clip that comes at any moment of a batch waits for its rest; the queue keeps batches of files
    as short as these.
    """
    clip, file = _clips(1, plan.clip), _clips(*plan.file)
    whole = _time(lambda: network.decoded(file, MOST), 2)
    moments = np.random.default_rng(0).uniform(0, 1, plan.latencies)
    alone = [_time(lambda: network.decoded(clip, MOST), 1, warm=not n) for n in range(len(moments))]
    behind = []
    for moment in moments:
        network.decoded(file, MOST)
        behind.append(whole * moment + _time(lambda: network.decoded(clip, MOST), 1, warm=False))
    return {
        "clip": f"{plan.clip:g} s",
        "file": f"batches of {plan.file[0]} chunks of {plan.file[1]:g} s",
        "alone, p50": 1000 * median(alone),
        "alone, p95": 1000 * float(np.quantile(alone, 0.95)),
        "beside a file, p50": 1000 * median(behind),
        "beside a file, p95": 1000 * float(np.quantile(behind, 0.95)),
    }


def _busy(network: Network, plan: Plan) -> Findings | str:
    """The share of time in which the card works while a file is decoded in several packs."""
    if not torch.cuda.is_available():
        return "needs a GPU"
    size, seconds = plan.file
    clips = _clips(size * 4, seconds)
    network.decoded(clips, size * seconds)
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        began = time.perf_counter()
        network.decoded(clips, size * seconds)
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
    return {
        "share": busy / 1e6 / wall,
        "longest gap, ms": max(gaps, default=0.0) / 1000,
        "packs": 4,
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


def _clips(count: int, seconds: float) -> list[Samples]:
    """Noise that grows and fades four times a second, as speech does."""
    rng = np.random.default_rng(count)
    times = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    loudness = (0.1 * np.sin(np.pi * 4 * times) ** 2).astype(np.float32)
    return [rng.standard_normal(len(times), np.float32) * loudness for _ in range(count)]


def _pack(network: Network, clips: Sequence[Samples]) -> Pack:
    return next(network.uploaded(clips, [list(range(len(clips)))]))


def _encoded(network: Network, clips: Sequence[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
    pack = _pack(network, clips)
    encoded, lengths = network.encoder(*network.features(pack.waveforms, pack.lengths))
    return encoded.clone(), lengths.clone()


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
