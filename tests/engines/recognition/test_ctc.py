"""Greedy CTC gives what onnx-asr's own gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_asr.models.nemo import NemoConformerCtc

from reflector_gpu.engines.recognition.parakeet.ctc import collapsed

VOCABULARY, BLANK = 5, 4


@given(lengths=st.lists(st.integers(0, 15), min_size=1, max_size=5), seed=st.integers(0, 10_000))
def test_tokens_frames_and_logprobs_are_those_of_onnx_asr(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(lengths), max(1, *lengths), VOCABULARY)).astype(np.float32)
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    counts = np.array(lengths, np.int64)
    model = cast("NemoConformerCtc", SimpleNamespace(_vocab_size=VOCABULARY, _blank_idx=BLANK))
    decoding: Any = NemoConformerCtc._decoding

    found = collapsed(logprobs.argmax(-1), logprobs.max(-1), counts, BLANK)

    for one, (tokens, frames, likely) in zip(found, decoding(model, logprobs, counts), strict=True):
        assert one.tokens.tolist() == list(tokens)
        assert one.frames.tolist() == list(frames)
        assert one.durations.tolist() == [1] * len(tokens)
        assert one.logprobs == pytest.approx(list(likely), abs=1e-5)
