"""Greedy decoding of token-and-duration transducers, a whole batch in one network call a step.

TDT (Xu et al. 2023, https://arxiv.org/abs/2304.06795): at encoder frame ``t`` the joint network
gives a token and how many frames to go on. A loop over utterances calls the network once for
each of its steps; here all utterances that are not finished take their next step together.
Tokens and frames come out exactly as they would one utterance at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
States: TypeAlias = tuple[Floats, Floats]

Joint: TypeAlias = Callable[[Floats, Ints, States], tuple[Floats, States]]
"""``(frames[b, d], last_tokens[b], states) -> (logits[b, vocabulary + durations], states)``.

States are the prediction network's, ``[layers, b, hidden]`` each.
"""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One utterance: ``int64[n]`` tokens, their first frames and durations in frames, logprobs."""

    tokens: Ints
    frames: Ints
    durations: Ints
    logprobs: Floats


def greedy(
    encoded: Floats,
    lengths: Ints,
    joint: Joint,
    states: States,
    *,
    vocabulary: int,
    blank: int,
    max_symbols: int,
) -> list[Decoded]:
    """Decode ``encoded``, ``float32[b, t, d]`` of which ``lengths[b]`` frames count.

    ``states`` are zeros, ``[layers, b, hidden]``; ``vocabulary`` counts the blank; logits beyond
    it are those of durations 0, 1, 2, … (none at all: a plain RNN-T). ``max_symbols`` tokens at
    one frame force the next.
    """
    first, second = (state.copy() for state in states)
    count = len(encoded)
    time = np.zeros(count, np.int64)
    last = np.full(count, blank, np.int64)
    emitted = np.zeros(count, np.int64)
    steps: list[tuple[Ints, Ints, Ints, Ints, Floats]] = []
    while len(active := np.flatnonzero(time < lengths)):
        frames = encoded[active, time[active]]
        logits, (next_first, next_second) = joint(
            frames, last[active], (first[:, active], second[:, active])
        )
        token_logits = logits[:, :vocabulary]
        tokens = token_logits.argmax(axis=1)
        has_durations = logits.shape[1] > vocabulary
        jumps = logits[:, vocabulary:].argmax(axis=1) if has_durations else np.zeros_like(tokens)

        spoken = tokens != blank
        rows = active[spoken]
        first[:, rows], second[:, rows] = next_first[:, spoken], next_second[:, spoken]
        last[rows] = tokens[spoken]
        emitted[rows] += 1
        logprobs = _chosen_logprobs(token_logits[spoken], tokens[spoken])
        steps.append((rows, tokens[spoken], time[rows], jumps[spoken], logprobs))

        # No jump at a blank, or after too many tokens, would never end: go on by one frame.
        stuck = (jumps == 0) & (~spoken | (emitted[active] >= max_symbols))
        advance = jumps + stuck
        time[active] += advance
        emitted[active[advance > 0]] = 0
    return _by_row(steps, count)


def _chosen_logprobs(logits: Floats, tokens: Ints) -> Floats:
    top = logits.max(axis=1)
    normaliser = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    chosen: Floats = logits[np.arange(len(tokens)), tokens] - normaliser
    return chosen


def _by_row(steps: list[tuple[Ints, Ints, Ints, Ints, Floats]], count: int) -> list[Decoded]:
    if not steps:
        none = np.zeros(0, np.int64)
        return [Decoded(none, none, none, np.zeros(0, np.float32))] * count
    rows = np.concatenate([step[0] for step in steps])
    order = np.argsort(rows, kind="stable")
    splits = np.searchsorted(rows[order], np.arange(1, count))
    columns = [
        np.split(np.concatenate([step[i] for step in steps])[order], splits) for i in range(1, 5)
    ]
    return [Decoded(*column) for column in zip(*columns, strict=True)]
