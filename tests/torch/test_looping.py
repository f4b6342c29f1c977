"""Label looping on the device gives what the NumPy decoder gives over the same networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ParakeetEncoderConfig, ParakeetForTDT, ParakeetTDTConfig

from reflector_gpu.engines.recognition.parakeet import tdt
from reflector_gpu.engines.recognition.parakeet.phrases import boosts
from reflector_gpu.engines.recognition.parakeet.pytorch.looping import Decoder
from reflector_gpu.engines.recognition.parakeet.pytorch.running import decode

WIDTH, BLANK = 16, 20
_ENCODER = ParakeetEncoderConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    subsampling_conv_channels=2,
)


@pytest.fixture(scope="module", autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def transducer(seed: int, layers: int = 2, symbols: int = 3) -> ParakeetForTDT:
    """Random networks whose tokens, blanks and durations are about equally likely."""
    torch.manual_seed(seed)
    config = ParakeetTDTConfig(
        vocab_size=BLANK + 1,
        blank_token_id=BLANK,
        decoder_hidden_size=WIDTH,
        num_decoder_layers=layers,
        max_symbols_per_step=symbols,
        encoder_config=_ENCODER,
    )
    model = ParakeetForTDT(config).eval()
    with torch.no_grad():
        for weight in (*model.decoder.parameters(), *model.joint.parameters()):
            weight.normal_(std=0.6)
        model.joint.head.bias[BLANK] += 2.0
    return model


def numpy_decoded(
    model: ParakeetForTDT,
    encoded: torch.Tensor,
    lengths: Sequence[int],
    expected: tdt.Boosts | None = None,
) -> list[tdt.Decoded]:
    config = model.config

    def joint(
        frames: tdt.Floats, last: tdt.Ints, states: tdt.States
    ) -> tuple[tdt.Floats, tdt.States]:
        given = model.decoder.embedding(torch.from_numpy(last))[:, None]
        first, second = (torch.from_numpy(np.ascontiguousarray(state)) for state in states)
        output, (hidden, cell) = model.decoder.lstm(given, (first, second))
        both = torch.from_numpy(frames) + model.decoder.decoder_projector(output)[:, 0]
        logits = model.joint.head(model.joint.activation(both))
        return logits.numpy(), (hidden.numpy(), cell.numpy())

    zeros = np.zeros((config.num_decoder_layers, len(lengths), WIDTH), np.float32)
    return tdt.greedy(
        encoded.numpy(),
        np.array(lengths, np.int64),
        joint,
        (zeros, zeros),
        vocabulary=config.vocab_size,
        blank=BLANK,
        max_symbols=config.max_symbols_per_step,
        boosts=expected,
    )


def check_same(found: list[tdt.Decoded], expected: list[tdt.Decoded]) -> None:
    for one, other in zip(found, expected, strict=True):
        for name in ("tokens", "frames", "durations"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


# One and the same examples every time: where two tokens are as good as equal, rounding decides.
@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    layers=st.integers(1, 2),
    symbols=st.integers(1, 4),
)
def test_tokens_frames_and_durations_are_those_of_the_numpy_decoder(
    seed: int, lengths: list[int], layers: int, symbols: int
) -> None:
    model = transducer(seed, layers, symbols)
    encoded = torch.randn(len(lengths), max(1, *lengths), WIDTH)
    check_same(
        decode(Decoder(model), encoded, torch.tensor(lengths)),
        numpy_decoded(model, encoded, lengths),
    )


@settings(max_examples=20, derandomize=True, deadline=None)
@given(seed=st.integers(0, 1000), phrases=st.lists(st.text("abcdef ", max_size=5), min_size=1))
def test_phrases_are_raised_as_by_the_numpy_decoder(seed: int, phrases: list[str]) -> None:
    model = transducer(seed)
    vocabulary = [f"{space}{letter}" for space in (" ", "") for letter in "abcdefghij"] + ["<blk>"]
    expected = boosts(phrases, vocabulary, BLANK)
    lengths = [25, 0, 18]
    encoded = torch.randn(3, 25, WIDTH)
    check_same(
        decode(Decoder(model), encoded, torch.tensor(lengths), expected),
        numpy_decoded(model, encoded, lengths, expected),
    )


def test_a_full_batch_of_long_utterances() -> None:
    model = transducer(5, symbols=10)
    lengths = list(range(40, 390, 11))
    encoded = torch.randn(len(lengths), max(lengths), WIDTH)
    found = decode(Decoder(model), encoded, torch.tensor(lengths))
    check_same(found, numpy_decoded(model, encoded, lengths))
    assert sum(len(one.tokens) for one in found) > 1000


def test_a_block_after_the_end_changes_nothing() -> None:
    decoder = Decoder(transducer(2))
    encoded, ends = torch.randn(2, 5, WIDTH), torch.tensor([5, 3])
    state, room = decoder.start(ends), decoder.room(2, 5)
    while int(state.most) < 0:
        state = decoder.block(encoded, state, room)
    found, count = room.clone(), state.count.clone()
    state = decoder.block(encoded, state, room)
    assert torch.equal(state.count, count)
    for row, number in enumerate(count.tolist()):
        assert torch.equal(room[row, : 1 + number], found[row, : 1 + number])
