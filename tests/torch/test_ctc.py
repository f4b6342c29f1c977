"""A CTC model on PyTorch: the likeliest token of each frame, repetitions and blanks left out."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import torch
from transformers import ParakeetCTCConfig, ParakeetForCTC, ParakeetForTDT

from reflector_gpu.engines.recognition.parakeet.pieces import padded
from reflector_gpu.engines.recognition.parakeet.pytorch.features import LogMel
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network
from reflector_gpu.engines.recognition.parakeet.pytorch.weights import load
from tests.engines.tiny import Clip

BLANK = 30


def write(folder: Path, tiny: Path) -> Path:
    """The tiny encoder with a random head, whose blank is a little likelier than the others."""
    encoder = ParakeetForTDT.from_pretrained(tiny).encoder
    torch.manual_seed(3)
    config = ParakeetCTCConfig(
        vocab_size=BLANK + 1, pad_token_id=BLANK, encoder_config=encoder.config
    )
    model = ParakeetForCTC(config)
    model.encoder = encoder
    with torch.no_grad():
        model.ctc_head.weight.normal_()
    model.save_pretrained(folder)
    vocabulary = {f"\u2581{index}": index for index in range(BLANK)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    return folder


def test_it_decodes_as_transformers_does(tmp_path: Path, tiny: Path, spoken: list[Clip]) -> None:
    folder = write(tmp_path, tiny)
    batch = [clip.samples for clip in spoken[:5]]
    waveforms, lengths = (torch.from_numpy(one) for one in padded(batch))
    features, mask = LogMel(128, "cpu")(waveforms, lengths)
    model = ParakeetForCTC.from_pretrained(folder).eval()
    with torch.inference_mode():
        theirs = model.generate(features, attention_mask=mask)

    network = Network(load(folder), "cpu", 31.0)
    found = network.decoded(network.prepare(batch, 1000.0))

    for row, one in zip(theirs.tolist(), found, strict=True):
        assert one.tokens.tolist() == [key for key, _ in groupby(row) if key != BLANK]
        assert (one.logprobs <= 0).all()
        assert (one.durations == 1).all()
    assert sum(len(one.tokens) for one in found) >= 30
    assert network.vocabulary[4] == " 4"
