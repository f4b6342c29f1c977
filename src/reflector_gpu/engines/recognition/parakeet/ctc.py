"""Greedy decoding of CTC: the likeliest token of each frame, repetitions and blanks left out."""

from __future__ import annotations

import numpy as np

from reflector_gpu.engines.recognition.parakeet.tdt import Decoded, Floats, Ints


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
