"""Our batched TDT decoding against onnx-asr's own loop, what the encoder made given to both.

The decoders are the tiny trained one and random ones of full size (tests/engines/transducers.py).
Each runs on one thread: then what else the machine does weighs on both alike.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.timing import times_as_fast
from reflector_gpu.engines.recognition.parakeet.onnx import TdtHead
from reflector_gpu.engines.recognition.parakeet.tdt import Floats, Ints
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.engines.tiny import PARAKEET, clips
from tests.engines.transducers import (
    FRAMES_PER_SECOND,
    Sizes,
    encode,
    found,
    load,
    own_loop,
    random_frames,
    write_random,
)

UTTERANCES = 32
SHORTEST, LONGEST = 3, 20  # seconds
VOCABULARIES = 1025, 8193  # those of v2 and v3, the blank included
TARGET = 4


def run() -> list[Figure]:
    return [_tiny(), *map(_full_size, VOCABULARIES)]


def _tiny() -> Figure:
    speech = np.concatenate([clip.samples for clip in clips("en")])
    rng = np.random.default_rng(0)

    def utterance(seconds: float) -> Samples:
        begin = rng.integers(len(speech) - LONGEST * SAMPLE_RATE)
        return speech[begin : begin + int(seconds * SAMPLE_RATE)]

    batch = encode(load(PARAKEET), [utterance(seconds) for seconds in _lengths()])
    # A round takes a tenth of a second; of full size, seconds.
    return _compare("tiny Parakeet", PARAKEET, *batch, rounds=25)


def _full_size(vocabulary: int) -> Figure:
    sizes = Sizes(vocabulary)
    lengths = [int(seconds * FRAMES_PER_SECOND) for seconds in _lengths()]
    with tempfile.TemporaryDirectory() as folder:
        model = write_random(Path(folder), sizes)
        batch = random_frames(lengths, sizes.width)
        return _compare(f"full size, vocabulary {vocabulary}", model, *batch, rounds=5)


def _lengths() -> list[float]:
    """Seconds of each utterance."""
    rng = np.random.default_rng(0)
    return [float(seconds) for seconds in rng.uniform(SHORTEST, LONGEST, UTTERANCES)]


def _compare(name: str, folder: Path, encoded: Floats, lengths: Ints, *, rounds: int) -> Figure:
    model, head = load(folder), TdtHead(load(folder))

    def theirs() -> object:
        return own_loop(model, encoded, lengths)

    def ours() -> object:
        return found(head.decode(encoded, lengths))

    same = ours() == theirs()
    ratio, spread = times_as_fast(ours, theirs, rounds)
    return Figure(
        f"TDT decoding alone, {name} / onnx-asr's loop",
        ratio,
        f">= {TARGET}",
        ratio >= TARGET and same,
        f"{UTTERANCES} utterances of {SHORTEST} to {LONGEST} s, {spread}, "
        f"tokens and frames {'identical' if same else 'DIFFER'}",
    )
