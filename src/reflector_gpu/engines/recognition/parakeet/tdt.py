"""Greedy decoding of token-and-duration transducers, a whole batch in one network call a step.

In TDT (Xu et al. 2023, https://arxiv.org/abs/2304.06795), the joint network gives a token at
encoder frame ``t``, and how many frames to go on. A loop over utterances calls the network for each
step of each. Here all utterances that are not finished take their next step together. Tokens and
frames are the same as those of one utterance at a time.
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


@dataclass(frozen=True, slots=True)
class Boosts:
    """Phrases to expect, as tables over the nodes of a trie; `phrases.boosts` makes them.

    At node ``n``, token ``columns[k]`` is raised by ``raised[n, k]``, and leads to the node
    ``following[n, k]``. ``column[token]`` is its ``k``, or the last column of ``following`` for
    tokens that are in no phrase. A row begins at node 0.
    """

    columns: Ints
    raised: Floats
    following: Ints
    column: Ints

    def chosen(self, logits: Floats, likeliest: Ints, nodes: Ints, blank: int) -> Ints:
        """The ``likeliest`` tokens of ``logits[b, vocabulary]``, other than blanks chosen anew."""
        boosted = logits.copy()
        boosted[:, self.columns] += self.raised[nodes]
        boosted[:, blank] = -np.inf
        found: Ints = np.where(likeliest == blank, blank, boosted.argmax(axis=1))
        return found

    def table(self, vocabulary: int, blank: int) -> Floats:
        """``float32[nodes, vocabulary]``: what is added to all logits, so that none is a blank."""
        found = np.zeros((len(self.raised), vocabulary), np.float32)
        found[:, self.columns] = self.raised
        found[:, blank] = -np.inf
        return found

    def after(self, nodes: Ints, tokens: Ints) -> Ints:
        """The nodes that ``tokens`` lead to."""
        found: Ints = self.following[nodes, self.column[tokens]]
        return found


def greedy(
    encoded: Floats,
    lengths: Ints,
    joint: Joint,
    states: States,
    *,
    vocabulary: int,
    blank: int,
    max_symbols: int,
    boosts: Boosts | None = None,
) -> list[Decoded]:
    """Decode ``encoded``, ``float32[b, t, d]`` of which ``lengths[b]`` frames count.

    ``states`` are zeros, ``[layers, b, hidden]``. ``vocabulary`` counts the blank. Logits beyond it
    are those of durations 0, 1, 2, …; a plain RNN-T has none. After ``max_symbols`` tokens at one
    frame, decoding goes on to the next.
    """
    rows = np.arange(len(encoded))
    ends = lengths
    time, emitted = np.zeros_like(rows), np.zeros_like(rows)
    last, nodes = np.full_like(rows, blank), np.zeros_like(rows)
    steps: list[tuple[Ints, Ints, Ints, Ints, Floats]] = []
    while True:
        unfinished = time < ends
        if not unfinished.all():
            rows, ends, time, emitted, last, nodes = (
                column[unfinished] for column in (rows, ends, time, emitted, last, nodes)
            )
            states = _rows_of(states, unfinished)
        if not len(rows):
            return _by_row(steps, len(encoded))

        logits, after = joint(encoded[rows, time], last, states)
        tokens = logits[:, :vocabulary].argmax(axis=1)
        if boosts:
            tokens = boosts.chosen(logits[:, :vocabulary], tokens, nodes, blank)
        has_durations = logits.shape[1] > vocabulary
        jumps = logits[:, vocabulary:].argmax(axis=1) if has_durations else np.zeros_like(tokens)

        spoken = tokens != blank
        logprobs = _logprobs(logits[spoken, :vocabulary], tokens[spoken])
        steps.append((rows[spoken], tokens[spoken], time[spoken], jumps[spoken], logprobs))
        states = _where(spoken, after, states)
        last = np.where(spoken, tokens, last)
        if boosts:
            nodes = np.where(spoken, boosts.after(nodes, tokens), nodes)
        emitted += spoken

        # Go on by one frame at a blank without a duration, or after too many tokens.
        advance = np.maximum(jumps, ~spoken | (emitted >= max_symbols))
        time += advance
        emitted[advance > 0] = 0


Step: TypeAlias = Callable[[Ints, Ints, Ints], tuple[Ints, Ints, Floats]]
"""``(frames[b], last_tokens[b], nodes[b]) -> (tokens[b], jumps[b], logprobs[b])``: a frame of each
row. ``nodes`` are those of `Boosts`."""


def stepped(
    step: Step, ends: Ints, blank: int, max_symbols: int, boosts: Boosts | None = None
) -> list[Decoded]:
    """What `greedy` finds, where ``step`` keeps the states of all rows, even of finished ones.

    Of row ``b``, ``ends[b]`` frames count. ``step`` raises what ``boosts`` say.
    """
    rows = np.arange(len(ends))
    time, emitted = np.zeros_like(rows), np.zeros_like(rows)
    last, nodes = np.full_like(rows, blank), np.zeros_like(rows)
    steps: list[tuple[Ints, Ints, Ints, Ints, Floats]] = []
    while (unfinished := time < ends).any():
        tokens, jumps, logprobs = step(np.minimum(time, np.maximum(ends - 1, 0)), last, nodes)
        spoken = unfinished & (tokens != blank)
        steps.append((rows[spoken], tokens[spoken], time[spoken], jumps[spoken], logprobs[spoken]))
        last = np.where(spoken, tokens, last)
        if boosts:
            nodes = np.where(spoken, boosts.after(nodes, tokens), nodes)
        emitted += spoken
        advance = np.where(unfinished, np.maximum(jumps, ~spoken | (emitted >= max_symbols)), 0)
        time = time + advance
        emitted[advance > 0] = 0
    return _by_row(steps, len(ends))


def _rows_of(states: States, wanted: npt.NDArray[np.bool_]) -> States:
    first, second = (state.compress(wanted, axis=1) for state in states)
    return first, second


def _where(spoken: npt.NDArray[np.bool_], after: States, before: States) -> States:
    """Advance the prediction network, but not for rows with a blank."""
    first, second = (
        np.where(spoken[:, None], new, old) for new, old in zip(after, before, strict=True)
    )
    return first, second


def _logprobs(logits: Floats, tokens: Ints) -> Floats:
    """``float32[n]``: the log-softmax of one token of each row of ``float32[n, vocabulary]``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(tokens)), tokens]
    found: Floats = chosen - np.log(np.exp(shifted, out=shifted).sum(axis=1))
    return found


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
