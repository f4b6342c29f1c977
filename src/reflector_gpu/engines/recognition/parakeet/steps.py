"""Small graphs for ONNX Runtime that keep on a device what decoding needs there.

ONNX Runtime's Python interface moves tensors, but computes nothing with them outside of a model. So
what stands between two calls of a network is a model as well: each is a few operators, written here
in the wire format of ONNX's protocol buffers, because the package `onnx` is large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

_FLOAT, _INT64, _FLOAT16 = 1, 7, 10  # TensorProto.DataType
_OPSET = 13


@dataclass(frozen=True, slots=True)
class Node:
    """An operator, whose attributes are integers or lists of them."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int | Sequence[int]] = field(default_factory=dict)


def frames_first(*, halves: bool) -> bytes:
    """``outputs[b, d, t] -> encoded[b, t, d]``, in float32, whether or not ``outputs`` are."""
    nodes = [
        Node("Transpose", ["outputs"], ["turned"], {"perm": [0, 2, 1]}),
        Node("Cast", ["turned"], ["encoded"], {"to": _FLOAT}),
    ]
    types = {"outputs": _FLOAT16} if halves else {}
    return _model(nodes, ["outputs"], ["encoded"], types)


def picked() -> bytes:
    """``(encoded[b, t, d], time[b, 1]) -> frames[b, d, 1]``: one frame of each row."""
    nodes = [
        Node("GatherND", ["encoded", "time"], ["picked"], {"batch_dims": 1}),
        Node("Unsqueeze", ["picked", "last_axis"], ["frames"]),
    ]
    return _model(nodes, ["encoded", "time"], ["frames"], {"time": _INT64}, {"last_axis": [2]})


def chosen(vocabulary: int, blank: int) -> bytes:
    """``(logits[b, 1, 1, vocabulary + durations], before_1, after_1, before_2, after_2)
    -> (token[b], jump[b], logprob[b], state_1, state_2)``.

    States are ``[layers, b, hidden]``; rows with a blank keep those from before.
    """
    likeliest = [
        Node("ArgMax", ["tokens"], ["token"], {"axis": 1, "keepdims": 0}),
        Node("ReduceMax", ["tokens"], ["best"], {"axes": [1], "keepdims": 0}),
    ]
    return _chosen(likeliest, vocabulary, blank, {})


def chosen_among_raised(vocabulary: int, blank: int) -> bytes:
    """As `chosen`, with two more inputs: ``(raised[nodes, vocabulary], node[b])``.

    Where the likeliest token is not the blank, it is chosen anew, raised as at the node of the row.
    """
    likeliest = [
        Node("ArgMax", ["tokens"], ["unraised"], {"axis": 1, "keepdims": 0}),
        Node("Gather", ["raised", "node"], ["raise"], {"axis": 0}),
        Node("Add", ["tokens", "raise"], ["boosted"]),
        Node("ArgMax", ["boosted"], ["expected"], {"axis": 1, "keepdims": 0}),
        Node("Equal", ["unraised", "blank"], ["mute"]),
        Node("Where", ["mute", "blank", "expected"], ["token"]),
        Node("Unsqueeze", ["token", "one"], ["place"]),
        Node("GatherElements", ["tokens", "place"], ["found"], {"axis": 1}),
        Node("Squeeze", ["found", "one"], ["best"]),
    ]
    return _chosen(likeliest, vocabulary, blank, {"raised": _FLOAT, "node": _INT64})


def _chosen(
    likeliest: Sequence[Node], vocabulary: int, blank: int, given: Mapping[str, int]
) -> bytes:
    """``likeliest`` makes ``token`` and its logit ``best`` of ``tokens`` and what is ``given``."""
    nodes = [
        Node("Flatten", ["logits"], ["flat"], {"axis": 1}),
        Node("Slice", ["flat", "zero", "size", "one"], ["tokens"]),
        Node("Slice", ["flat", "size", "end", "one"], ["durations"]),
        *likeliest,
        Node("ArgMax", ["durations"], ["jump"], {"axis": 1, "keepdims": 0}),
        Node("ReduceLogSumExp", ["tokens"], ["total"], {"axes": [1], "keepdims": 0}),
        Node("Sub", ["best", "total"], ["logprob"]),
        Node("Equal", ["token", "blank"], ["silent"]),
        Node("Unsqueeze", ["silent", "outer_axes"], ["kept"]),
        Node("Where", ["kept", "before_1", "after_1"], ["state_1"]),
        Node("Where", ["kept", "before_2", "after_2"], ["state_2"]),
    ]
    constants = {
        "zero": [0],
        "one": [1],
        "size": [vocabulary],
        "end": [np.iinfo(np.int64).max],
        "blank": [blank],
        "outer_axes": [0, 2],
    }
    inputs = ["logits", "before_1", "after_1", "before_2", "after_2", *given]
    outputs = ["token", "jump", "logprob", "state_1", "state_2"]
    types = {"token": _INT64, "jump": _INT64, **given}
    return _model(nodes, inputs, outputs, types, constants)


def likeliest() -> bytes:
    """``logprobs[b, t, v] -> (token[b, t], logprob[b, t])``."""
    nodes = [
        Node("ArgMax", ["logprobs"], ["token"], {"axis": 2, "keepdims": 0}),
        Node("ReduceMax", ["logprobs"], ["logprob"], {"axes": [2], "keepdims": 0}),
    ]
    return _model(nodes, ["logprobs"], ["token", "logprob"], {"token": _INT64})


def _model(
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[str],
    types: Mapping[str, int],
    constants: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> bytes:
    """A ``ModelProto``. Tensors are float32, if ``types`` do not say otherwise."""

    def typed(name: str) -> bytes:
        return _type(name, types.get(name, _FLOAT))

    graph = b"".join(
        [
            *(_field(1, _node(node)) for node in nodes),
            _field(2, b"steps"),
            *(_field(5, _constant(name, value)) for name, value in constants.items()),
            *(_field(11, typed(name)) for name in inputs),
            *(_field(12, typed(name)) for name in outputs),
        ]
    )
    return _field(1, 8) + _field(8, _field(2, _OPSET)) + _field(7, graph)


def _node(node: Node) -> bytes:
    return b"".join(
        [
            *(_field(1, name.encode()) for name in node.inputs),
            *(_field(2, name.encode()) for name in node.outputs),
            _field(4, node.operator.encode()),
            *(_field(5, _attribute(name, value)) for name, value in node.attributes.items()),
        ]
    )


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _field(1, name.encode()) + _field(3, value) + _field(20, 2)
    values = b"".join(_field(8, one) for one in value)
    return _field(1, name.encode()) + values + _field(20, 7)


def _constant(name: str, values: Sequence[int]) -> bytes:
    data = np.array(values, "<i8").tobytes()
    return _field(1, len(values)) + _field(2, _INT64) + _field(8, name.encode()) + _field(9, data)


def _type(name: str, element: int) -> bytes:
    """A ``ValueInfoProto`` of any shape."""
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, element)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
