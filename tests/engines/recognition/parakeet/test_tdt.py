"""Batched greedy TDT decoding gives what a loop over utterances gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.parakeet import tdt

BLANK, VOCABULARY, LAYERS, HIDDEN, WIDTH = 6, 7, 2, 5, 4


@dataclass
class Network:
    """A random joint and prediction network; each row depends on that row alone."""

    seed: int
    durations: int

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.frame = rng.normal(size=(WIDTH, VOCABULARY + self.durations)).astype(np.float32)
        self.token = rng.normal(size=(VOCABULARY, HIDDEN)).astype(np.float32)
        self.state = rng.normal(size=(HIDDEN, VOCABULARY + self.durations)).astype(np.float32)

    def joint(
        self, frames: tdt.Floats, last: tdt.Ints, states: tdt.States
    ) -> tuple[tdt.Floats, tdt.States]:
        first = np.tanh(states[0] * 0.5 + self.token[last])
        second = np.tanh(states[1] * 0.5 + first)
        logits = np.einsum("bw,wv->bv", frames, self.frame)
        logits = logits + np.einsum("bh,hv->bv", second[-1], self.state)
        return logits.astype(np.float32), (first, second)


def one_by_one(
    network: Network, encoded: tdt.Floats, length: int, max_symbols: int
) -> list[tuple[int, int, int]]:
    """The plain loop of Xu et al. 2023, algorithm 2: ``[(token, frame, duration)]``."""
    first = second = np.zeros((LAYERS, 1, HIDDEN), np.float32)
    last, time, emitted = BLANK, 0, 0
    found: list[tuple[int, int, int]] = []
    while time < length:
        logits, after = network.joint(
            encoded[None, time], np.array([last], np.int64), (first, second)
        )
        token = int(logits[0, :VOCABULARY].argmax())
        jump = int(logits[0, VOCABULARY:].argmax()) if network.durations else 0
        if token != BLANK:
            first, second = after
            found.append((token, time, jump))
            last, emitted = token, emitted + 1
        if jump:
            time, emitted = time + jump, 0
        elif token == BLANK or emitted == max_symbols:
            time, emitted = time + 1, 0
    return found


def decode(
    network: Network, encoded: tdt.Floats, lengths: list[int], max_symbols: int
) -> list[tdt.Decoded]:
    zeros = np.zeros((LAYERS, len(lengths), HIDDEN), np.float32)
    return tdt.greedy(
        encoded,
        np.array(lengths, np.int64),
        network.joint,
        (zeros, zeros),
        vocabulary=VOCABULARY,
        blank=BLANK,
        max_symbols=max_symbols,
    )


@given(
    seed=st.integers(0, 10_000),
    durations=st.sampled_from([0, 1, 5]),
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    max_symbols=st.integers(1, 4),
)
def test_tokens_frames_and_durations_are_those_of_the_plain_loop(
    seed: int, durations: int, lengths: list[int], max_symbols: int
) -> None:
    network = Network(seed, durations)
    rng = np.random.default_rng(seed + 1)
    encoded = rng.normal(size=(len(lengths), max(1, *lengths), WIDTH)).astype(np.float32)

    decoded = decode(network, encoded, lengths, max_symbols)

    for row, length in enumerate(lengths):
        one = decoded[row]
        found = list(
            zip(one.tokens.tolist(), one.frames.tolist(), one.durations.tolist(), strict=True)
        )
        assert found == one_by_one(network, encoded[row], length, max_symbols)
        assert (one.logprobs <= 0).all()


def test_a_network_that_never_moves_on_ends_all_the_same() -> None:
    def stuck(
        frames: tdt.Floats, last: tdt.Ints, states: tdt.States
    ) -> tuple[tdt.Floats, tdt.States]:
        logits = np.zeros((len(last), VOCABULARY + 2), np.float32)
        logits[:, 3] = logits[:, VOCABULARY] = 1.0  # token 3, duration 0, for ever
        return logits, states

    zeros = np.zeros((LAYERS, 1, HIDDEN), np.float32)
    (one,) = tdt.greedy(
        np.zeros((1, 4, WIDTH), np.float32),
        np.array([4], np.int64),
        stuck,
        (zeros, zeros),
        vocabulary=VOCABULARY,
        blank=BLANK,
        max_symbols=3,
    )

    assert one.frames.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("lengths", [[0], [0, 0, 0]])
def test_no_frames_give_no_tokens(lengths: list[int]) -> None:
    encoded = np.zeros((len(lengths), 1, WIDTH), np.float32)
    assert [len(one.tokens) for one in decode(Network(0, 5), encoded, lengths, 3)] == [0] * len(
        lengths
    )
