"""ONNX Runtime's sessions with tensors that stay on the device, by IO binding.

Of a step of decoding, the host gets a token, a duration and a logprob for each row, and gives back
which frames come next. Encoded frames, states and logits stay where the networks run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.recognition.parakeet import ctc, steps, tdt
from reflector_gpu.errors import ModelNotInstalled

if TYPE_CHECKING:
    from onnx_asr.models.nemo import NemoConformerCtc, NemoConformerTdt
    from onnxruntime import InferenceSession, OrtValue

Array: TypeAlias = npt.NDArray[np.generic]


def run(
    session: InferenceSession,
    inputs: Mapping[str, Array | OrtValue],
    kept: Sequence[str],
    fetched: Sequence[str],
    device: str,
) -> tuple[list[OrtValue], list[Array]]:
    """The outputs that are ``kept`` on the ``device``, and those that are ``fetched`` from it."""
    binding = session.io_binding()
    borrowed = []  # by the binding, which does not keep them
    for name, value in inputs.items():
        if isinstance(value, np.ndarray):
            borrowed.append(np.ascontiguousarray(value))
            binding.bind_cpu_input(name, borrowed[-1])
        else:
            binding.bind_ortvalue_input(name, value)
    for name in kept:
        binding.bind_output(name, device)
    for name in fetched:
        binding.bind_output(name)
    session.run_with_iobinding(binding)
    outputs = binding.get_outputs()
    return outputs[: len(kept)], [one.numpy() for one in outputs[len(kept) :]]


class BoundTdt:
    """The encoder and the decoder of ``model`` on ``device``: ``cuda``, or ``cpu`` in tests."""

    def __init__(self, model: NemoConformerTdt, device: str) -> None:
        from onnxruntime import InferenceSession

        def session(graph: bytes) -> InferenceSession:
            return InferenceSession(graph, **model.runtime_config)

        if _takes_halves(model._decoder_joint):
            raise ModelNotInstalled(
                "The decoder of this Parakeet model takes float16; export it with inputs and "
                "outputs in float32 (keep_io_types)."
            )
        self._model = model
        self._device = device
        self._halves = _takes_halves(model._encoder)
        self._turned = session(steps.frames_first(halves=_gives_halves(model._encoder)))
        self._picked = session(steps.picked())
        self._chosen = session(steps.chosen(model._vocab_size, model._blank_idx))
        among_raised = steps.chosen_among_raised(model._vocab_size, model._blank_idx)
        self._chosen_among_raised = session(among_raised)

    def encoded(self, features: tdt.Floats, lengths: tdt.Ints) -> tuple[OrtValue, tdt.Ints]:
        """``float32[b, t, d]`` on the device, and how many of ``t`` count."""
        sound = features.astype(np.float16) if self._halves else features
        given = {"audio_signal": sound, "length": lengths}
        encoder = self._model._encoder
        kept, (counts,) = run(encoder, given, ["outputs"], ["encoded_lengths"], self._device)
        (turned,), _ = run(self._turned, {"outputs": kept[0]}, ["encoded"], [], self._device)
        return turned, np.minimum(counts.astype(np.int64), turned.shape()[1])

    def decode(
        self, encoded: OrtValue, lengths: tdt.Ints, boosts: tdt.Boosts | None = None
    ) -> list[tdt.Decoded]:
        """As `tdt.greedy`."""
        model, rows = self._model, len(lengths)
        states: list[Array | OrtValue] = [
            np.repeat(state, rows, axis=1) for state in model._create_state()
        ]
        ones = np.ones(rows, np.int32)
        raised = self._raised(boosts)
        chosen = self._chosen if raised is None else self._chosen_among_raised

        def step(
            time: tdt.Ints, last: tdt.Ints, nodes: tdt.Ints
        ) -> tuple[tdt.Ints, tdt.Ints, tdt.Floats]:
            nonlocal states
            given: dict[str, Array | OrtValue] = {"encoded": encoded, "time": time[:, None]}
            (frames,), _ = run(self._picked, given, ["frames"], [], self._device)
            given = {
                "encoder_outputs": frames,
                "targets": last[:, None].astype(np.int32),
                "target_length": ones,
                "input_states_1": states[0],
                "input_states_2": states[1],
            }
            outputs = ["outputs", "output_states_1", "output_states_2"]
            (logits, first, second), _ = run(model._decoder_joint, given, outputs, [], self._device)
            given = {
                "logits": logits,
                "before_1": states[0],
                "after_1": first,
                "before_2": states[1],
                "after_2": second,
            }
            if raised is not None:
                given |= {"raised": raised, "node": nodes}
            fetched = ["token", "jump", "logprob"]
            after, (token, jump, logprob) = run(
                chosen, given, ["state_1", "state_2"], fetched, self._device
            )
            states = [*after]
            return (
                token.astype(np.int64),
                jump.astype(np.int64),
                logprob.astype(np.float32),
            )

        symbols = model._max_tokens_per_step
        return tdt.stepped(step, lengths, model._blank_idx, symbols, boosts)

    def _raised(self, boosts: tdt.Boosts | None) -> OrtValue | None:
        """What phrases raise, on the device."""
        from onnxruntime import OrtValue

        if boosts is None:
            return None
        table = boosts.table(self._model._vocab_size, self._model._blank_idx)
        return OrtValue.ortvalue_from_numpy(table, self._device)


class BoundCtc:
    """The network of ``model`` on ``device``, of which the host gets the likeliest tokens alone."""

    def __init__(self, model: NemoConformerCtc, device: str) -> None:
        from onnxruntime import InferenceSession

        self._model = model
        self._device = device
        self._likeliest = InferenceSession(steps.likeliest(), **model.runtime_config)

    def decode(self, features: tdt.Floats, lengths: tdt.Ints) -> list[tdt.Decoded]:
        """As `ctc.greedy` without phrases."""
        model = self._model
        given = {"audio_signal": features, "length": lengths}
        kept, _ = run(model._model, given, ["logprobs"], [], self._device)
        _, (tokens, likely) = run(
            self._likeliest, {"logprobs": kept[0]}, [], ["token", "logprob"], self._device
        )
        frames = (lengths - 1) // model._subsampling_factor + 1
        return ctc.collapsed(
            tokens.astype(np.int64), likely.astype(np.float32), frames, model._blank_idx
        )


def _takes_halves(session: InferenceSession) -> bool:
    return any(one.type == "tensor(float16)" for one in session.get_inputs())


def _gives_halves(session: InferenceSession) -> bool:
    return any(one.type == "tensor(float16)" for one in session.get_outputs())
