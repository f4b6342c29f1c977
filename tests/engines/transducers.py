"""Random transducers in the form that NeMo exports, and onnx-asr's own loop over such a form.

For the tests and for benchmarks/tdt.py: no trained full-size decoder is at hand, but what one
costs and how it is called does not depend on training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx_asr
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper, save
from onnx_asr.models.nemo import NemoConformerTdt
from onnx_asr.utils import pad_list

from reflector_gpu.engines.recognition.parakeet import tdt
from reflector_gpu.types import Samples

FRAMES_PER_SECOND = 12.5
DURATIONS = 5
_FLOAT, _INT32, _INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a decoder: ``vocabulary`` counts the blank, ``width`` is that of an encoder frame."""

    vocabulary: int
    hidden: int = 640
    width: int = 1024
    layers: int = 2


def write_random(folder: Path, sizes: Sizes, seed: int = 0) -> Path:
    """A model in onnx-asr's form; its encoder is none, its decoder says what real ones might."""
    save(_decoder_joint(sizes, np.random.default_rng(seed)), folder / "decoder_joint-model.onnx")
    save(_no_encoder(), folder / "encoder-model.onnx")
    pieces = [f"\u2581{index}" for index in range(sizes.vocabulary - 1)] + ["<blk>"]
    lines = (f"{piece} {index}\n" for index, piece in enumerate(pieces))
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    config = {"model_type": "nemo-conformer-tdt", "features_size": 128, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def random_frames(lengths: Sequence[int], width: int, seed: int = 1) -> tuple[tdt.Floats, tdt.Ints]:
    """``float32[b, t, width]``, laid out as an encoder leaves it, and the lengths."""
    size = (len(lengths), width, max(lengths))
    encoded = np.random.default_rng(seed).standard_normal(size, np.float32)
    return encoded.transpose(0, 2, 1), np.array(lengths, np.int64)


def load(folder: Path) -> NemoConformerTdt:
    """With one thread: threads that wait for each other would measure the machine's other work."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_asr.load_model(
        "nemo-conformer-tdt", folder, sess_options=options, providers=["CPUExecutionProvider"]
    ).asr
    assert isinstance(model, NemoConformerTdt)
    return model


def encode(model: NemoConformerTdt, utterances: Sequence[Samples]) -> tuple[tdt.Floats, tdt.Ints]:
    """What the encoder makes of recordings: ``float32[b, t, width]`` and the lengths."""
    encoded, lengths = model._encode(*model._preprocessor(*pad_list(list(utterances))))
    return encoded, np.minimum(lengths, encoded.shape[1])


Found: TypeAlias = list[tuple[list[int], list[int]]]
"""The tokens of each utterance and the frames they begin at."""


def own_loop(model: NemoConformerTdt, encoded: tdt.Floats, lengths: tdt.Ints) -> Found:
    """What onnx-asr finds, one utterance after another."""
    return [(list(found), list(at)) for found, at, _ in model._decoding(encoded, lengths)]


def own_logprobs(
    model: NemoConformerTdt, encoded: tdt.Floats, lengths: tdt.Ints
) -> list[list[float]]:
    found = model._decoding(encoded, lengths, need_logprobs=True)
    return [list(logprobs or ()) for _, _, logprobs in found]


def found(decoded: Sequence[tdt.Decoded]) -> Found:
    return [(one.tokens.tolist(), one.frames.tolist()) for one in decoded]


@dataclass
class _Graph:
    """Nodes and weights as they are added."""

    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def random(self, name: str, *size: int, scale: float) -> str:
        return self.weight(name, (self.rng.normal(size=size) * scale).astype(np.float32))

    def node(
        self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: int | Sequence[int]
    ) -> str:
        node = helper.make_node(kind, inputs, outputs)
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        self.nodes.append(node)
        return outputs[0]

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        graph = helper.make_graph(self.nodes, "main", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _tensor(name: str, kind: int, *dimensions: str | int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dimensions)


def _no_encoder() -> ModelProto:
    graph = _Graph()
    graph.node("Identity", ["audio_signal"], "outputs")
    graph.node("Identity", ["length"], "encoded_lengths")
    return graph.model(
        [_tensor("audio_signal", _FLOAT, "b", "d", "t"), _tensor("length", _INT64, "b")],
        [_tensor("outputs", _FLOAT, "b", "d", "t"), _tensor("encoded_lengths", _INT64, "b")],
    )


def _decoder_joint(sizes: Sizes, rng: np.random.Generator) -> ModelProto:
    """The nodes of NeMo's export: embedding, LSTM, and a joint network that adds and rectifies."""
    graph = _Graph(rng)
    node, hidden, width = graph.node, sizes.hidden, sizes.width
    for index in range(sizes.layers + 1):
        graph.weight(str(index), np.array([index], np.int64))

    said = _said(graph, sizes)
    said = node("MatMul", [said, graph.random("p", hidden, hidden, scale=3 * hidden**-0.5)], "p_x")
    heard = node("Transpose", ["encoder_outputs"], "heard", perm=[0, 2, 1])
    heard = node("MatMul", [heard, graph.random("e", width, hidden, scale=width**-0.5)], "e_x")
    both = node("Unsqueeze", [heard, "2"], "every_t"), node("Unsqueeze", [said, "1"], "every_u")
    joint = node("Relu", [node("Add", both, "sum")], "joint")
    weights, bias = _classes(sizes, rng)
    joint = node("MatMul", [joint, graph.weight("o", weights)], "unbiased")
    node("Add", [graph.weight("o_bias", bias), joint], "outputs")
    node("Identity", ["target_length"], "prednet_lengths")

    state = sizes.layers, "b", hidden
    return graph.model(
        [
            _tensor("encoder_outputs", _FLOAT, "b", width, "t"),
            _tensor("targets", _INT32, "b", "u"),
            _tensor("target_length", _INT32, "b"),
            _tensor("input_states_1", _FLOAT, *state),
            _tensor("input_states_2", _FLOAT, *state),
        ],
        [
            _tensor("outputs", _FLOAT, "b", "t", "u", sizes.vocabulary + DURATIONS),
            _tensor("prednet_lengths", _INT32, "b"),
            _tensor("output_states_1", _FLOAT, *state),
            _tensor("output_states_2", _FLOAT, *state),
        ],
    )


def _said(graph: _Graph, sizes: Sizes) -> str:
    """The prediction network, ``[b, u, hidden]``."""
    node, hidden, scale = graph.node, sizes.hidden, sizes.hidden**-0.5
    pieces = graph.random("embedding", sizes.vocabulary, hidden, scale=1.0)
    said = node("Gather", [pieces, "targets"], "pieces")
    said = node("Transpose", [said], "said_0", perm=[1, 0, 2])
    for layer in range(sizes.layers):
        span = [str(layer), str(layer + 1), "0"]
        inputs = [
            said,
            graph.random(f"w_{layer}", 1, 4 * hidden, hidden, scale=scale),
            graph.random(f"r_{layer}", 1, 4 * hidden, hidden, scale=scale),
            graph.random(f"b_{layer}", 1, 8 * hidden, scale=scale),
            "",
            node("Slice", ["input_states_1", *span], f"h_{layer}"),
            node("Slice", ["input_states_2", *span], f"c_{layer}"),
        ]
        outputs = f"y_{layer}", f"next_h_{layer}", f"next_c_{layer}"
        said = node("LSTM", inputs, *outputs, hidden_size=hidden)
        said = node("Squeeze", [said, "1"], f"said_{layer + 1}")
    for name, output in (("h", "output_states_1"), ("c", "output_states_2")):
        node("Concat", [f"next_{name}_{layer}" for layer in range(sizes.layers)], output, axis=0)
    return node("Transpose", [said], "said", perm=[1, 0, 2])


def _classes(sizes: Sizes, rng: np.random.Generator) -> tuple[tdt.Floats, tdt.Floats]:
    """Weights and bias of the joint network's last layer: about 4 tokens a second are said.

    What a rectifier lets through has a mean, by which a few tokens would always win: the weights
    of each class sum to 0. The blank competes with the greatest of that many normal logits.
    """
    scale, classes = 8.0, sizes.vocabulary + DURATIONS
    weights = rng.normal(size=(sizes.hidden, classes)) * scale * sizes.hidden**-0.5
    weights -= weights.mean(axis=0)
    bias = np.zeros(classes)
    bias[sizes.vocabulary - 1] = math.sqrt(2 * math.log(sizes.vocabulary)) - 1.5
    bias[sizes.vocabulary :] = -1.2, 0.8, 0.6, 0.2, 0.0  # a duration of no frames is rare
    return weights.astype(np.float32), (bias * 0.8 * scale).astype(np.float32)
