"""Greedy TDT decoding of a batch on the device, by labels instead of frames.

This is label looping (Bataev et al. 2024, https://arxiv.org/abs/2406.06220) in steps of a fixed
shape. In a step, the prediction network reads the last token of each row once. Then the joint
network looks at a few frames: rows with blanks go on, until they find a token or have used up these
looks. No step asks the device for anything, so that a block of steps can be captured as a CUDA
graph. Tokens, frames and durations are those of `tdt.greedy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from transformers import ParakeetForTDT

from reflector_gpu.engines.recognition.parakeet.tdt import Boosts, Decoded

LOOKS = 2
"""Frames that a row may look at in a step. Between two tokens there is about one blank."""

STEPS = 8
"""Steps of a block. After each block the host asks whether all rows have ended."""


@dataclass(slots=True)
class State:
    """Where each of ``b`` rows is. All tensors keep their shapes.

    ``time`` is the frame it looks at next, ``ends`` the number of its frames, ``emitted`` the
    tokens found at this frame, ``count`` all tokens found, and ``last`` the last one. A row that is
    ``fresh`` has found one since the prediction network last ran, whose state is ``hidden`` and
    ``cell`` (``[layers, b, h]``) and whose output is ``predicted`` (``[b, h]``). ``node`` is where
    it is in the trie of phrases.
    """

    time: torch.Tensor
    ends: torch.Tensor
    emitted: torch.Tensor
    count: torch.Tensor
    last: torch.Tensor
    fresh: torch.Tensor
    hidden: torch.Tensor
    cell: torch.Tensor
    predicted: torch.Tensor
    node: torch.Tensor

    def copy_(self, other: State) -> None:
        """Take over the values of ``other`` in place."""
        for one in fields(self):
            getattr(self, one.name).copy_(getattr(other, one.name))

    @property
    def most(self) -> torch.Tensor:
        """The most tokens of a row, or -1 until all rows have ended: ``int64[]``, on the device."""
        return torch.where((self.time >= self.ends).all(), self.count.max(), -1)


Block: TypeAlias = Callable[[torch.Tensor, State, torch.Tensor], State]
"""``(encoded[b, t, h], state, found[b, most + 2, 4]) -> state``: `STEPS` steps."""


class DeviceBoosts:
    """`Boosts` on a device."""

    def __init__(self, boosts: Boosts, device: torch.device) -> None:
        self._columns, self._raised, self._following, self._column = (
            torch.from_numpy(table).to(device)
            for table in (boosts.columns, boosts.raised, boosts.following, boosts.column)
        )

    def chosen(
        self, logits: torch.Tensor, likeliest: torch.Tensor, nodes: torch.Tensor, blank: int
    ) -> torch.Tensor:
        """As `Boosts.chosen`."""
        boosted = logits.index_add(1, self._columns, self._raised[nodes])
        boosted[:, blank] = -torch.inf
        return torch.where(likeliest == blank, blank, boosted.argmax(dim=1))

    def after(self, nodes: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """As `Boosts.after`."""
        return self._following[nodes, self._column[tokens]]


class Decoder:
    """The prediction and joint networks of ``model``."""

    def __init__(self, model: ParakeetForTDT) -> None:
        config = model.config
        self._embedding = model.decoder.embedding
        self._layers = [
            [getattr(model.decoder.lstm, f"{name}_l{layer}") for name in _LSTM]
            for layer in range(config.num_decoder_layers)
        ]
        self._projector = model.decoder.decoder_projector
        self._activation = model.joint.activation
        self._head = model.joint.head
        self._vocabulary = config.vocab_size
        self._blank = config.blank_token_id
        self._width = config.decoder_hidden_size
        self.max_symbols = config.max_symbols_per_step
        self._durations = torch.tensor(config.durations, device=self._head.weight.device)

    def start(self, ends: torch.Tensor) -> State:
        """The state before the first step, of rows with ``ends`` frames."""
        zeros = torch.zeros_like(ends)
        shape = (len(self._layers), len(ends), self._width)
        weights = self._head.weight
        return State(
            time=zeros,
            ends=ends,
            emitted=zeros.clone(),
            count=zeros.clone(),
            last=torch.full_like(ends, self._blank),
            fresh=torch.ones_like(ends, dtype=torch.bool),
            hidden=weights.new_zeros(shape),
            cell=weights.new_zeros(shape),
            predicted=weights.new_zeros(shape[1:]),
            node=zeros.clone(),
        )

    def room(self, rows: int, frames: int) -> torch.Tensor:
        """Where tokens are written: ``int32[b, most + 2, 4]``.

        Of a row, the first place is for how many there are, and the last for those not found. The
        four are the token, its frame, its duration in frames, and the bits of its logprob.
        """
        places = 1 + frames * self.max_symbols + 1
        return torch.zeros(rows, places, 4, dtype=torch.int32, device=self._head.weight.device)

    def block(
        self,
        encoded: torch.Tensor,
        state: State,
        found: torch.Tensor,
        boosts: DeviceBoosts | None = None,
    ) -> State:
        """`STEPS` steps. A row that has ended stays as it is."""
        for _ in range(STEPS):
            state = self._step(encoded, state, found, boosts)
        found[:, 0, 0] = state.count
        return state

    def _step(
        self,
        encoded: torch.Tensor,
        state: State,
        found: torch.Tensor,
        boosts: DeviceBoosts | None,
    ) -> State:
        hidden, cell, predicted = self._predict(state)
        rows = torch.arange(len(encoded), device=encoded.device)
        time, emitted, count, last = state.time, state.emitted, state.count, state.last
        node = state.node
        told = torch.zeros_like(state.fresh)
        for _ in range(LOOKS):
            looks = (time < state.ends) & ~told
            frames = encoded[rows, time.clamp(max=encoded.shape[1] - 1)]
            logits = self._head(self._activation(frames + predicted))
            tokens = logits[:, : self._vocabulary]
            best, token = tokens.max(dim=1)
            if boosts:
                token = boosts.chosen(tokens, token, node, self._blank)
                best = tokens[rows, token]
            spoken = looks & (token != self._blank)
            jump = self._durations[logits[:, self._vocabulary :].argmax(dim=1)]
            logprob = (best - tokens.logsumexp(dim=1)).view(torch.int32)
            place = torch.where(spoken, count + 1, found.shape[1] - 1)
            found[rows, place] = torch.stack([token.int(), time.int(), jump.int(), logprob], dim=1)
            count = count + spoken
            last = torch.where(spoken, token, last)
            if boosts:
                node = torch.where(spoken, boosts.after(node, token), node)
            emitted = emitted + spoken
            # Go on by one frame at a blank without a duration, or after too many tokens.
            advance = torch.maximum(jump, (~spoken | (emitted >= self.max_symbols)).to(jump.dtype))
            time = torch.where(looks, time + advance, time)
            emitted = torch.where(looks & (advance > 0), 0, emitted)
            told = told | spoken
        return State(time, state.ends, emitted, count, last, told, hidden, cell, predicted, node)

    def _predict(self, state: State) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The prediction network's state and output, once fresh rows have read their token."""
        given = self._embedding(state.last)
        hidden, cell = [], []
        for number, weights in enumerate(self._layers):
            given, memory = torch.lstm_cell(
                given, (state.hidden[number], state.cell[number]), *weights
            )
            hidden.append(given)
            cell.append(memory)
        fresh = state.fresh[:, None]
        return (
            torch.where(fresh, torch.stack(hidden), state.hidden),
            torch.where(fresh, torch.stack(cell), state.cell),
            torch.where(fresh, self._projector(given), state.predicted),
        )


_LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def read(found: torch.Tensor, most: int) -> list[Decoded]:
    """What was found in each row, at ``most`` so many tokens: one copy from the device."""
    table = found[:, : 1 + most].cpu().numpy()
    return [_decoded(row[1 : 1 + row[0, 0]]) for row in table]


def _decoded(found: npt.NDArray[np.int32]) -> Decoded:
    tokens, frames, durations = (found[:, column].astype(np.int64) for column in range(3))
    return Decoded(tokens, frames, durations, found[:, 3].copy().view(np.float32))
