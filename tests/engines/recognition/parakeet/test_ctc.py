"""Greedy CTC gives what onnx-asr's own gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_asr.models.nemo import NemoConformerCtc
from onnxruntime import InferenceSession

from reflector_gpu.engines.recognition.parakeet.bound import BoundCtc
from reflector_gpu.engines.recognition.parakeet.ctc import collapsed, greedy

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


def turning() -> InferenceSession:
    """A network that takes features for logprobs, in the form that NeMo exports."""
    kinds = {"audio_signal": TensorProto.FLOAT, "length": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info("logprobs", TensorProto.FLOAT, None)]
    node = helper.make_node("Transpose", ["audio_signal"], ["logprobs"], perm=[0, 2, 1])
    opset = [helper.make_opsetid("", 13)]
    graph = helper.make_graph([node], "turning", inputs, outputs)
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return InferenceSession(model.SerializeToString())


def test_bound_to_a_device_the_same_is_found() -> None:
    network = SimpleNamespace(
        _model=turning(), _blank_idx=BLANK, _subsampling_factor=1, runtime_config={}
    )
    lengths = np.array([12, 1, 7], np.int64)
    logprobs = np.random.default_rng(0).normal(size=(3, 12, VOCABULARY)).astype(np.float32)

    found = BoundCtc(cast("NemoConformerCtc", network), "cpu").decode(
        logprobs.transpose(0, 2, 1), lengths
    )

    for one, other in zip(found, greedy(logprobs, lengths, BLANK), strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.frames.tolist() == other.frames.tolist()
        assert one.logprobs == pytest.approx(other.logprobs)
    assert sum(len(one.tokens) for one in found) > 8
