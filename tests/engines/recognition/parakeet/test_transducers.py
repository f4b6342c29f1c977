"""Decoding a batch over NeMo's networks gives what onnx-asr's own loop gives over the same."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_asr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_asr.models.nemo import NemoConformerTdt
from onnxruntime import OrtValue
from onnxruntime.transformers.float16 import convert_float_to_float16

from reflector_gpu.engines.recognition.parakeet import tdt
from reflector_gpu.engines.recognition.parakeet.bound import BoundTdt
from reflector_gpu.engines.recognition.parakeet.onnx import TdtHead, preferred
from reflector_gpu.errors import ModelNotInstalled
from tests.engines.recognition.parakeet.test_phrases import FRIDAY, MISHEARD
from tests.engines.tiny import PARAKEET, clips
from tests.engines.transducers import (
    FRAMES_PER_SECOND,
    Sizes,
    encode,
    found,
    load,
    own_logprobs,
    own_loop,
    random_frames,
    write_random,
)

WIDTH = 96


@dataclass(frozen=True)
class Both:
    """The same networks behind onnx-asr and behind our decoder."""

    theirs: NemoConformerTdt
    ours: TdtHead


@pytest.fixture(scope="module", params=[1025, 8193], ids="vocabulary of {}".format)
def random(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """The vocabularies of v2 and v3, two LSTM layers; narrower than theirs."""
    sizes = Sizes(request.param, hidden=64, width=WIDTH)
    folder = write_random(tmp_path_factory.mktemp("random"), sizes)
    return Both(load(folder), TdtHead(load(folder)))


@pytest.fixture(scope="module")
def trained() -> Both:
    return Both(load(PARAKEET), TdtHead(load(PARAKEET)))


# One and the same examples every time: where two tokens are as good as equal, rounding decides.
@settings(max_examples=25, derandomize=True)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    seed=st.integers(1, 1000),
)
def test_tokens_and_frames_are_those_of_the_own_loop(
    random: Both, lengths: list[int], seed: int
) -> None:
    batch = random_frames(lengths, WIDTH, seed)
    assert found(random.ours.decode(*batch)) == own_loop(random.theirs, *batch)


def test_a_full_batch_of_long_utterances_is_decoded_as_by_the_own_loop(random: Both) -> None:
    encoded, lengths = random_frames(list(range(32, 256, 7)), WIDTH)
    decoded = random.ours.decode(encoded, lengths)

    assert found(decoded) == own_loop(random.theirs, encoded, lengths)
    _same_logprobs(decoded, own_logprobs(random.theirs, encoded, lengths))


def test_a_random_decoder_speaks_about_as_a_trained_one_does(random: Both) -> None:
    encoded, lengths = random_frames([250] * 8, WIDTH)
    decoded = random.ours.decode(encoded, lengths)
    durations = np.concatenate([one.durations for one in decoded])

    assert 3 < len(durations) / lengths.sum() * FRAMES_PER_SECOND < 5
    assert set(durations.tolist()) == {0, 1, 2, 3, 4}
    assert (durations == 0).mean() < 0.1
    assert len(np.unique(np.concatenate([one.tokens for one in decoded]))) > len(durations) / 4


def test_recordings_are_decoded_as_by_the_own_loop(trained: Both) -> None:
    encoded, lengths = encode(trained.theirs, [clip.samples for clip in clips("en")])
    decoded = trained.ours.decode(encoded, lengths)

    assert found(decoded) == own_loop(trained.theirs, encoded, lengths)
    _same_logprobs(decoded, own_logprobs(trained.theirs, encoded, lengths))


def test_bound_to_a_device_the_same_is_found(random: Both, trained: Both) -> None:
    """With the CPU for a device, which has the same interface."""
    spoken = encode(trained.theirs, [clip.samples for clip in clips("en")])
    for both, batch in ((random, random_frames([0, 40, 7, 133, 1], WIDTH)), (trained, spoken)):
        frames, lengths = batch
        kept = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(frames))
        decoded = BoundTdt(both.ours._model, "cpu").decode(kept, lengths)
        known = both.ours.decode(frames, lengths)
        assert found(decoded) == found(known)
        for one, other in zip(decoded, known, strict=True):
            assert one.durations.tolist() == other.durations.tolist()
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_bound_to_a_device_words_are_the_same_and_hotwords_as_well() -> None:
    batch = [clip.samples for clip in clips("en")[:5]] + [case.samples for case in MISHEARD]
    plain, bound = TdtHead(load(PARAKEET)), TdtHead(load(PARAKEET), "cpu")
    for hotwords in ((), (FRIDAY.hotword,)):
        for one, other in zip(
            plain.words(batch, hotwords), bound.words(batch, hotwords), strict=True
        ):
            assert [(w.text, w.start, w.end) for w in one] == [
                (w.text, w.start, w.end) for w in other
            ]


def in_halves(folder: Path, *, decoder: bool) -> Path:
    """The tiny Parakeet with an encoder in float16, from its inputs to its outputs."""
    for name in ("vocab.txt", "config.json"):
        shutil.copy(PARAKEET / name, folder)
    for name, halved in (("encoder-model", True), ("decoder_joint-model", decoder)):
        model = onnx.load(PARAKEET / f"{name}.onnx")
        if halved:
            model = convert_float_to_float16(model, keep_io_types=False)
        onnx.save(model, folder / f"{name}.fp16.onnx")
    return folder


def test_an_encoder_in_float16_is_taken_on_gpus_and_hears_the_same(tmp_path: Path) -> None:
    folder = in_halves(tmp_path, decoder=False)
    assert (preferred(folder, "cuda"), preferred(folder, "cpu")) == ("fp16", None)
    assert preferred(PARAKEET, "cuda") is None
    model = onnx_asr.load_model("nemo-conformer-tdt", folder, quantization="fp16").asr
    assert isinstance(model, NemoConformerTdt)
    batch = [clip.samples for clip in clips("en")[:5]]
    for one, other in zip(
        TdtHead(model, "cpu").words(batch), TdtHead(load(PARAKEET)).words(batch), strict=True
    ):
        assert [word.text for word in one] == [word.text for word in other]


def test_a_decoder_that_takes_float16_is_refused(tmp_path: Path) -> None:
    folder = in_halves(tmp_path, decoder=True)
    model = onnx_asr.load_model("nemo-conformer-tdt", folder, quantization="fp16").asr
    assert isinstance(model, NemoConformerTdt)
    with pytest.raises(ModelNotInstalled, match="keep_io_types"):
        TdtHead(model, "cpu")


def _same_logprobs(decoded: list[tdt.Decoded], theirs: list[list[float]]) -> None:
    for one, expected in zip(decoded, theirs, strict=True):
        assert one.logprobs == pytest.approx(expected, abs=1e-4)
