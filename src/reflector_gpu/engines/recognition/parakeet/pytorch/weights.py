"""Reads Parakeet's weights: in transformers' form, or from the archive that NeMo saves."""

from __future__ import annotations

import json
import pickle  # only for the name of an error
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from typing import IO

import torch
import yaml
from safetensors import SafetensorError
from transformers import (
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetForCTC,
    ParakeetForTDT,
    ParakeetTDTConfig,
)
from transformers.utils import logging

from reflector_gpu.errors import ModelNotInstalled

_CLASSES = {"parakeet_tdt": ParakeetForTDT, "parakeet_ctc": ParakeetForCTC}
_SPACE = "\u2581"  # begins a word in SentencePiece's vocabularies
_UNUSED = (
    "preprocessor.",
    "encoder.pos_enc.",
    "ctc_decoder.",
    "loss.",
)  # parts of an archive that decoding does not need

_DAMAGES = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    tarfile.TarError,
    yaml.YAMLError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What the libraries raise where files are missing, cut off or of another model."""

_RENAMED: Sequence[tuple[str, str]] = (
    (r"^encoder\.pre_encode\.conv\.", "encoder.subsampling.layers."),
    (r"^encoder\.pre_encode\.out\.", "encoder.subsampling.linear."),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
    (r"\.self_attn\.linear_([qkv])\.", r".self_attn.\1_proj."),
    (r"\.self_attn\.linear_out\.", ".self_attn.o_proj."),
    (r"\.self_attn\.linear_pos\.", ".self_attn.relative_k_proj."),
    (r"\.self_attn\.pos_bias_([uv])$", r".self_attn.bias_\1"),
    (r"^decoder\.prediction\.embed\.", "decoder.embedding."),
    (r"^decoder\.prediction\.dec_rnn\.lstm\.", "decoder.lstm."),
    (r"^decoder\.decoder_layers\.0\.", "ctc_head."),
    (r"^joint\.enc\.", "encoder_projector."),
    (r"^joint\.pred\.", "decoder.decoder_projector."),
    (r"^joint\.joint_net\.\d+\.", "joint.head."),
)
"""What NeMo calls parameters, and what transformers calls them."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of transformers on the CPU, in float32, and the text of each piece by its number."""

    model: ParakeetForTDT | ParakeetForCTC
    vocabulary: tuple[str, ...]


def load(folder: Path) -> Loaded:
    """The model in ``folder``.

    Raises:
        ModelNotInstalled: there is none, or its files are damaged.
    """
    logging.disable_progress_bar()
    try:
        archive = next(iter(sorted(folder.glob("*.nemo"))), None)
        return _of_nemo(archive) if archive else _of_transformers(folder)
    except _DAMAGES as error:
        reason = str(error).partition("\n")[0]
        raise ModelNotInstalled(
            f"The folder of this Parakeet model cannot be read ({reason}); pull the model again."
        ) from error


def _of_transformers(folder: Path) -> Loaded:
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind not in _CLASSES:
        raise ModelNotInstalled(f"Models of type '{kind}' are not Parakeet TDT or CTC.")
    model = _CLASSES[kind].from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    pieces |= {one["id"]: one["content"] for one in tokenizer.get("added_tokens", ())}
    return Loaded(model.eval(), _texts([pieces.get(i, "") for i in range(model.config.vocab_size)]))


def _of_nemo(path: Path) -> Loaded:
    with tarfile.open(path) as archive:
        members = {Path(one.name).name: one for one in archive.getmembers() if one.isfile()}

        def opened(name: str) -> IO[bytes]:
            file = archive.extractfile(members[name])
            assert file is not None, "a regular file"
            return file

        with opened("model_config.yaml") as file:
            # As text, because YAML takes a piece such as "no" for a boolean.
            config = yaml.load(file, yaml.BaseLoader)  # noqa: S506  makes nothing but text
        with tempfile.TemporaryFile() as copy, opened("model_weights.ckpt") as file:
            copyfileobj(file, copy)  # torch needs a file that can seek
            copy.seek(0)
            state = torch.load(copy, map_location="cpu", weights_only=True)
    vocabulary = _vocabulary(config)
    with torch.device("meta"):
        model = _model(config, len(vocabulary))
    kept = {name: value for name, value in state.items() if not name.startswith(_UNUSED)}
    model.load_state_dict({_renamed(name): value for name, value in kept.items()}, assign=True)
    positions = model.encoder.encode_positions  # no parameter, so it is not in the archive
    positions.inv_freq = positions.compute_default_relative_positional_parameters(positions.config)
    return Loaded(model.float().eval(), _texts([*vocabulary, ""]))


def _model(config: Mapping[str, object], pieces: int) -> ParakeetForTDT | ParakeetForCTC:
    """A model of the architecture that ``config`` describes, without weights."""
    encoder = _section(config, "encoder")
    _require(encoder, "subsampling", "dw_striding")
    _require(encoder, "self_attention_model", "rel_pos")
    _require(_section(config, "preprocessor"), "normalize", "per_feature")
    width = _number(encoder, "d_model")
    biased = encoder.get("use_bias", "true") == "true"
    encoder_config = ParakeetEncoderConfig(
        hidden_size=width,
        num_hidden_layers=_number(encoder, "n_layers"),
        num_attention_heads=_number(encoder, "n_heads"),
        intermediate_size=width * _number(encoder, "ff_expansion_factor"),
        attention_bias=biased,
        convolution_bias=biased,
        conv_kernel_size=_number(encoder, "conv_kernel_size"),
        subsampling_factor=_number(encoder, "subsampling_factor"),
        subsampling_conv_channels=_number(encoder, "subsampling_conv_channels"),
        num_mel_bins=_number(encoder, "feat_in"),
        scale_input=encoder.get("xscaling", "true") == "true",
    )
    decoder = _section(config, "decoder")
    if "prednet" not in decoder:
        return ParakeetForCTC(
            ParakeetCTCConfig(
                vocab_size=pieces + 1, pad_token_id=pieces, encoder_config=encoder_config
            )
        )
    network = _section(decoder, "prednet")
    decoding = _section(config, "decoding")
    durations = decoding.get("durations") or ()
    if not isinstance(durations, list):
        raise ModelNotInstalled("This NeMo model is a transducer without durations, not a TDT.")
    greedy = decoding.get("greedy")
    symbols = greedy.get("max_symbols") if isinstance(greedy, dict) else None
    return ParakeetForTDT(
        ParakeetTDTConfig(
            vocab_size=pieces + 1,
            blank_token_id=pieces,
            pad_token_id=0,
            decoder_hidden_size=_number(network, "pred_hidden"),
            num_decoder_layers=_number(network, "pred_rnn_layers"),
            durations=[int(one) for one in durations],
            max_symbols_per_step=int(symbols or 10),
            encoder_config=encoder_config,
        )
    )


def _vocabulary(config: Mapping[str, object]) -> list[str]:
    places = (config.get("joint"), config.get("decoder"))
    found = [place.get("vocabulary") for place in places if isinstance(place, dict)]
    vocabulary = next((one for one in (*found, config.get("labels")) if one), None)
    if not isinstance(vocabulary, list):
        raise ModelNotInstalled("This NeMo model has no vocabulary in its configuration.")
    return [str(piece) for piece in vocabulary]


def _texts(pieces: Sequence[str]) -> tuple[str, ...]:
    return tuple(piece.replace(_SPACE, " ") for piece in pieces)


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _section(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = config.get(name)
    if not isinstance(found, dict):
        raise ModelNotInstalled(f"The configuration of this NeMo model has no '{name}'.")
    return found


def _number(section: Mapping[str, object], name: str) -> int:
    return int(str(section[name]))


def _require(section: Mapping[str, object], name: str, value: str) -> None:
    if section.get(name, value) != value:
        raise ModelNotInstalled(
            f"This NeMo model has '{section[name]}' as its {name}; only '{value}' is supported."
        )
