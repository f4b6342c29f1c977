"""A Parakeet of random numbers that says as much as a trained one, and sounds for it to hear.

What a model costs does not depend on its training, but on how many tokens it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from transformers import ParakeetEncoderConfig, ParakeetForTDT, ParakeetTDTConfig

from reflector_gpu.engines.recognition.parakeet import tdt
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network, Pack
from reflector_gpu.engines.recognition.parakeet.pytorch.weights import Loaded
from reflector_gpu.types import SAMPLE_RATE, Samples

TOKENS_PER_SECOND = 3.0


def random_model(*, small: bool, layers: int = 24) -> Loaded:
    """A TDT model of random numbers, as large as v2 unless it is to be ``small``."""
    torch.manual_seed(0)
    size = {"hidden_size": 64, "intermediate_size": 128} if small else {}
    encoder = ParakeetEncoderConfig(
        num_mel_bins=128,
        attention_bias=False,
        convolution_bias=False,
        scale_input=False,
        subsampling_conv_channels=16 if small else 256,
        num_hidden_layers=2 if small else layers,
        **size,
    )
    config = ParakeetTDTConfig(
        vocab_size=1025,
        blank_token_id=1024,
        decoder_hidden_size=64 if small else 640,
        encoder_config=encoder,
    )
    model = ParakeetForTDT(config).eval()
    width = config.decoder_hidden_size
    with torch.no_grad():
        model.decoder.embedding.weight.normal_()
        model.decoder.decoder_projector.weight.normal_(std=3 * width**-0.5)
        model.encoder_projector.weight.normal_(std=encoder.hidden_size**-0.5)
        head = model.joint.head
        head.weight.normal_(std=8 * width**-0.5)
        # What a rectifier lets through has a mean, by which a few tokens would always win.
        head.weight -= head.weight.mean(dim=1, keepdim=True)
        head.bias.zero_()
        # Far below the tokens, because generate takes the greatest of all for a token.
        head.bias[1025:] = torch.tensor([-1.2, 0.8, 0.6, 0.2, 0.0]) * 6.4 - 1000
    return Loaded(model, tuple(f" {index}" for index in range(1025)))


def calibrate(network: Network, model: ParakeetForTDT, seconds: float = 10.0) -> float:
    """Bias the blank until about `TOKENS_PER_SECOND` are said; how many are said then."""
    blank, bias = model.config.blank_token_id, model.joint.head.bias
    low, high, rate = -100.0, 200.0, 0.0
    with torch.inference_mode():
        encoded, lengths = encoded_of(network, clips_of(4, seconds))
        encoded = _spread(model.encoder_projector, encoded)
        for _ in range(14):
            middle = (low + high) / 2
            bias[blank] = middle
            rate = sum(len(o.tokens) for o in network.decoder(encoded, lengths, None)) / (
                4 * seconds
            )
            low, high = (middle, high) if rate > TOKENS_PER_SECOND else (low, middle)
    return rate


def _spread(projector: torch.nn.Linear, encoded: torch.Tensor) -> torch.Tensor:
    """Have frames differ as those of a trained encoder do; ``encoded`` as it is then.

    What random weights make of sound is nearly the same at all times.
    """
    frames = encoded.flatten(0, 1)
    mean, deviation = frames.mean(0), frames.std(0) + 1e-6
    projector.weight /= deviation[:, None]
    projector.bias.sub_(mean).div_(deviation)
    return (encoded - mean) / deviation


def numpy_decoded(
    model: ParakeetForTDT, encoded: torch.Tensor, lengths: torch.Tensor
) -> list[tdt.Decoded]:
    """What the decoder for CPUs finds, with copies of the networks there.

    On a card, cuDNN's LSTM would compute in TF32.
    """
    decoder, joint_network = (deepcopy(one).cpu() for one in (model.decoder, model.joint))
    config = model.config

    def joint(
        frames: tdt.Floats, last: tdt.Ints, states: tdt.States
    ) -> tuple[tdt.Floats, tdt.States]:
        given = decoder.embedding(torch.from_numpy(last))[:, None]
        before = tuple(torch.from_numpy(state.copy()) for state in states)
        output, after = decoder.lstm(given, before)
        both = torch.from_numpy(frames) + decoder.decoder_projector(output)[:, 0]
        logits = joint_network.head(joint_network.activation(both)).numpy()
        return logits, (after[0].numpy(), after[1].numpy())

    shape = (config.num_decoder_layers, len(lengths), config.decoder_hidden_size)
    return tdt.greedy(
        encoded.numpy(),
        lengths.long().numpy(),
        joint,
        (np.zeros(shape, np.float32), np.zeros(shape, np.float32)),
        vocabulary=config.vocab_size,
        blank=config.blank_token_id,
        max_symbols=config.max_symbols_per_step,
    )


def clips_of(count: int, seconds: float) -> list[Samples]:
    """Noise that grows and fades four times a second, as speech does."""
    rng = np.random.default_rng(count)
    times = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    loudness = (0.1 * np.sin(np.pi * 4 * times) ** 2).astype(np.float32)
    return [rng.standard_normal(len(times), np.float32) * loudness for _ in range(count)]


def pack_of(network: Network, clips: Sequence[Samples]) -> Pack:
    pack = network.uploaded(clips, list(range(len(clips))))
    pack.wait()
    return pack


def encoded_of(network: Network, clips: Sequence[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
    pack = pack_of(network, clips)
    encoded, lengths = network.encoder(*network.features(pack.waveforms, pack.lengths))
    return encoded.clone(), lengths.clone()
