"""The tiny Parakeet in the forms that the engine on PyTorch reads, made of its ONNX export."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
import yaml
from onnx import numpy_helper
from transformers import ParakeetEncoderConfig, ParakeetForTDT, ParakeetTDTConfig

from tests.engines.tiny import PARAKEET

_SYMBOLS = 10


def write_transformers(folder: Path) -> Path:
    """config.json, model.safetensors and tokenizer.json."""
    state, pieces = _parameters(), _pieces()
    encoder = ParakeetEncoderConfig(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        attention_bias=False,
        convolution_bias=True,  # the export has put the batch normalisation into the convolution
        subsampling_conv_channels=16,
        num_mel_bins=128,
        scale_input=False,
    )
    config = ParakeetTDTConfig(
        vocab_size=len(pieces) + 1,
        blank_token_id=len(pieces),
        pad_token_id=0,
        decoder_hidden_size=64,
        num_decoder_layers=1,
        max_symbols_per_step=_SYMBOLS,
        encoder_config=encoder,
    )
    model = ParakeetForTDT(config)
    missing = set(model.state_dict()) - set(state)
    assert all("pointwise_conv" in one or ".norm." in one for one in missing), missing
    model.load_state_dict(state | {one: _neutral(one, model) for one in missing})
    model.save_pretrained(folder)
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    added = [{"id": len(pieces), "content": "<blank>"}]
    tokenizer = {"model": {"type": "BPE", "vocab": vocabulary}, "added_tokens": added}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


def write_nemo(folder: Path) -> Path:
    """The same as an archive of NeMo's."""
    model = ParakeetForTDT.from_pretrained(write_transformers(folder / "from"))
    encoder = {
        "feat_in": 128,
        "n_layers": 3,
        "d_model": 96,
        "n_heads": 4,
        "ff_expansion_factor": 2,
        "use_bias": True,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": 16,
        "self_attention_model": "rel_pos",
        "conv_kernel_size": 9,
        "xscaling": False,
    }
    config = {
        "preprocessor": {"normalize": "per_feature", "features": 128},
        "encoder": encoder,
        "decoder": {"prednet": {"pred_hidden": 64, "pred_rnn_layers": 1}},
        "joint": {"vocabulary": _pieces()},
        "decoding": {"durations": [0, 1, 2, 3, 4], "greedy": {"max_symbols": _SYMBOLS}},
    }
    state = {_in_nemo(name): value for name, value in model.state_dict().items()}
    for layer in range(3):
        for part in ("feed_forward1", "feed_forward2"):
            for linear, width in (("linear1", 192), ("linear2", 96)):
                state[f"encoder.layers.{layer}.{part}.{linear}.bias"] = torch.zeros(width)
        for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
            state[f"encoder.layers.{layer}.self_attn.{name}.bias"] = torch.zeros(96)
    weights = io.BytesIO()
    unused = ("preprocessor.featurizer.window", "encoder.pos_enc.pe", "ctc_decoder.weight")
    torch.save({**state, **{name: torch.zeros(2) for name in unused}}, weights)
    path = folder / "tiny.nemo"
    with tarfile.open(path, "w") as archive:
        _add(archive, "./model_config.yaml", yaml.safe_dump(config).encode())
        _add(archive, "./model_weights.ckpt", weights.getvalue())
    return path.parent


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _pieces() -> list[str]:
    lines = (PARAKEET / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return [line.rpartition(" ")[0] for line in lines][:-1]


_RENAMED = (
    (r"^pre_encode\.conv\.", "encoder.subsampling.layers."),
    (r"^pre_encode\.out\.", "encoder.subsampling.linear."),
    (r"^layers\.", "encoder.layers."),
    (r"linear_([qkv])\.", r"\1_proj."),
    (r"linear_out\.", "o_proj."),
    (r"linear_pos\.", "relative_k_proj."),
    (r"pos_bias_", "bias_"),
    (r"^decoder\.prediction\.embed\.", "decoder.embedding."),
    (r"^joint\.enc\.", "encoder_projector."),
    (r"^joint\.pred\.", "decoder.decoder_projector."),
    (r"^joint\.joint_net(\.joint_net)?\.1\.", "joint.head."),
)


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _in_nemo(name: str) -> str:
    for theirs, ours in (
        ("encoder.subsampling.layers.", "encoder.pre_encode.conv."),
        ("encoder.subsampling.linear.", "encoder.pre_encode.out."),
        (".conv.norm.", ".conv.batch_norm."),
        (".q_proj.", ".linear_q."),
        (".k_proj.", ".linear_k."),
        (".v_proj.", ".linear_v."),
        (".o_proj.", ".linear_out."),
        (".relative_k_proj.", ".linear_pos."),
        (".bias_u", ".pos_bias_u"),
        (".bias_v", ".pos_bias_v"),
        ("decoder.embedding.", "decoder.prediction.embed."),
        ("decoder.lstm.", "decoder.prediction.dec_rnn.lstm."),
        ("encoder_projector.", "joint.enc."),
        ("decoder.decoder_projector.", "joint.pred."),
        ("joint.head.", "joint.joint_net.2."),
    ):
        name = name.replace(theirs, ours)
    return name


def _parameters() -> dict[str, torch.Tensor]:
    """The parameters of both ONNX files, by transformers' names."""
    found: dict[str, np.ndarray] = {}
    for file in ("encoder-model.onnx", "decoder_joint-model.onnx"):
        graph = onnx.load(PARAKEET / file).graph
        values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        found |= {_renamed(name): value for name, value in values.items() if "::" not in name}
        for node in graph.node:
            weights = [values[name] for name in node.input if "::" in name and name in values]
            if weights:
                found |= _of_node(node, weights)
    return {name: torch.from_numpy(value.copy()) for name, value in found.items()}


def _of_node(node: onnx.NodeProto, weights: list[np.ndarray]) -> Mapping[str, np.ndarray]:
    """The parameters whose names were lost in the export, by the place of their node."""
    name = _renamed(node.name.strip("/").replace("/", ".").rpartition(".")[0] + ".").rstrip(".")
    match node.op_type:
        case "MatMul":
            return {f"{name}.weight": weights[0].T}
        case "Conv":
            return {f"{name}.weight": weights[0], f"{name}.bias": weights[1]}
    inputs, hidden, biases = (value[0] for value in weights)
    first, second = np.split(biases, 2)
    lstm = {"weight_ih": inputs, "weight_hh": hidden, "bias_ih": first, "bias_hh": second}
    return {f"decoder.lstm.{key}_l0": _gates(value) for key, value in lstm.items()}


def _gates(value: np.ndarray) -> np.ndarray:
    """From ONNX's order of the gates (input, output, forget, cell) to PyTorch's (i, f, c, o)."""
    i, o, f, c = np.split(value, 4)
    return np.concatenate([i, f, c, o])


def _neutral(name: str, model: ParakeetForTDT) -> torch.Tensor:
    """What changes nothing: a bias of 0, or a normalisation of mean 0 and variance 1."""
    value = torch.zeros_like(model.state_dict()[name])
    if name.endswith("running_var"):
        return value + 1 - 1e-5  # to which the normalisation adds as much
    return value + 1 if name.endswith("norm.weight") else value
