"""Greedy decoding of CTC: the likeliest token of each frame, repetitions and blanks left out."""

from __future__ import annotations

import numpy as np

from reflector_gpu.engines.recognition.parakeet.tdt import Boosts, Decoded, Floats, Ints


def greedy(
    logprobs: Floats, lengths: Ints, blank: int, boosts: Boosts | None = None
) -> list[Decoded]:
    """Decode ``logprobs[b, t, vocabulary]``, of which ``lengths[b]`` frames count."""
    tokens = logprobs.argmax(axis=2)
    if boosts:
        tokens = _boosted(logprobs, tokens, blank, boosts)
    likely = np.take_along_axis(logprobs, tokens[:, :, None], axis=2)[:, :, 0]
    return collapsed(tokens, likely, lengths, blank)


def _boosted(logprobs: Floats, likeliest: Ints, blank: int, boosts: Boosts) -> Ints:
    """``likeliest[b, t]`` with other tokens where phrases raise them. Repetitions stay such."""
    chosen = likeliest.copy()
    nodes = np.zeros(len(likeliest), np.int64)
    before = np.full(len(likeliest), blank)
    for frame in range(likeliest.shape[1]):
        now = likeliest[:, frame]
        again = now == before
        found = boosts.chosen(logprobs[:, frame], now, nodes, blank)
        chosen[:, frame] = np.where(again & (frame > 0), chosen[:, frame - 1], found)
        new = ~again & (now != blank)
        nodes = np.where(new, boosts.after(nodes, chosen[:, frame]), nodes)
        before = now
    return chosen


def collapsed(tokens: Ints, logprobs: Floats, lengths: Ints, blank: int) -> list[Decoded]:
    """The utterances of ``tokens[b, t]``, the likeliest of each frame, and their ``logprobs``.

    Of row ``b``, ``lengths[b]`` frames count. A token begins at its first frame, is said to last
    for one frame, and is as likely as its frames together.
    """
    counted = np.arange(tokens.shape[1]) < lengths[:, None]
    spoken = counted & (tokens != blank)
    first = spoken & (np.diff(tokens, axis=1, prepend=blank) != 0)
    likely = np.where(spoken, logprobs, np.float32(0))
    found: list[Decoded] = []
    for row, begins in zip(range(len(tokens)), map(np.flatnonzero, first), strict=True):
        ones = np.ones(len(begins), np.int64)
        sums = np.add.reduceat(likely[row], begins) if len(begins) else likely[row, :0]
        found.append(Decoded(tokens[row, begins], begins, ones, sums))
    return found
