"""A stand-in for Smart Turn: a network of a few nodes that listens to loudness."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from reflector_gpu.engines.endpointing.smart_turn import MODEL


def write(folder: Path, *, bias: float = 0.0) -> None:
    """Write a network into ``folder`` that is the surer of an end the louder the last second is.

    With a ``bias`` it is sure whatever it hears: of an end if that is positive.
    """
    nodes = [
        helper.make_node("Slice", ["input_features", "from", "to", "axis"], ["last"]),
        helper.make_node("ReduceMean", ["last", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "one"], ["column"]),
        helper.make_node("Sigmoid", ["column"], ["logits"]),
    ]
    whole = TensorProto.INT64
    constants = [
        helper.make_tensor("from", whole, [1], [700]),
        helper.make_tensor("to", whole, [1], [800]),
        helper.make_tensor("axis", whole, [1], [2]),
        helper.make_tensor("axes", whole, [2], [1, 2]),
        helper.make_tensor("one", whole, [1], [1]),
        helper.make_tensor("bias", TensorProto.FLOAT, [], [bias]),
    ]
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("input_features", kind, ["turns", 80, 800])],
        [helper.make_tensor_value_info("logits", kind, ["turns", 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert MODEL.weights
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / MODEL.weights.required[0])


def cached(cache: Path, *, bias: float = 0.0) -> None:
    """Put the stand-in into a Hugging Face ``cache``, as if it had been pulled."""
    assert MODEL.weights
    assert MODEL.weights.pins
    revision = MODEL.weights.pins.revision
    repository = cache / f"models--{MODEL.weights.repository.replace('/', '--')}"
    write(repository / "snapshots" / revision, bias=bias)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
