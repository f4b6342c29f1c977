"""Parakeet on a tiny trained model in the production format: real words, real times."""

from __future__ import annotations

import numpy as np
import onnx_asr
import pytest
from onnx_asr.models.nemo import NemoConformerTdt

from reflector_gpu.engines.parakeet import ParakeetTranscriber
from reflector_gpu.errors import ModelNotInstalled
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.engines.tiny import PARAKEET, Clip, clips, text_of, words_of, worst_times

ENGLISH = TranscribeOptions(language="en")
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def engine() -> ParakeetTranscriber:
    engine = ParakeetTranscriber(str(PARAKEET))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def spoken() -> list[Clip]:
    return clips("en")


@pytest.fixture(scope="module")
def batched(engine: ParakeetTranscriber, spoken: list[Clip]) -> list[Recognition]:
    """All clips, whatever their lengths, in one batch."""
    return hear(engine, [clip.samples for clip in spoken])


def hear(engine: ParakeetTranscriber, batch: list[Samples]) -> list[Recognition]:
    results = engine.transcribe(batch, ENGLISH)
    found = [result for result in results if isinstance(result, Recognition)]
    assert len(found) == len(batch)
    return found


def test_a_batch_of_many_lengths_is_heard_word_for_word(
    batched: list[Recognition], spoken: list[Clip]
) -> None:
    assert [text_of(result) for result in batched] == [clip.text for clip in spoken]


def test_words_are_where_they_were_spoken(batched: list[Recognition], spoken: list[Clip]) -> None:
    for result, clip in zip(batched, spoken, strict=True):
        starts, ends = worst_times(result, clip)
        assert starts <= TOLERANCE, clip.path.name
        assert ends <= TOLERANCE, clip.path.name


def test_alone_is_as_in_a_batch(
    engine: ParakeetTranscriber, batched: list[Recognition], spoken: list[Clip]
) -> None:
    for result, clip in list(zip(batched, spoken, strict=True))[::6]:
        (alone,) = hear(engine, [clip.samples])
        assert text_of(alone) == text_of(result)
        for one, other in zip(words_of(alone), words_of(result), strict=True):
            assert (one.start, one.end) == (other.start, other.end)


def test_tokens_and_times_are_those_of_onnx_asrs_own_loop(
    batched: list[Recognition], spoken: list[Clip]
) -> None:
    model = onnx_asr.load_model("nemo-conformer-tdt", PARAKEET).asr
    assert isinstance(model, NemoConformerTdt)
    for result, clip in zip(batched, spoken, strict=True):
        samples = clip.samples
        (theirs,) = model.recognize_batch(samples[None], np.array([len(samples)]))
        assert text_of(result) == theirs.text
        assert theirs.tokens is not None
        assert theirs.timestamps is not None
        first = [
            time
            for token, time in zip(theirs.tokens, theirs.timestamps, strict=True)
            if token.startswith(" ")
        ]
        assert [word.start for word in words_of(result)] == pytest.approx(first)


def test_silence_and_noise_give_no_words(engine: ParakeetTranscriber) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 32_000).astype(np.float32)
    for result in hear(engine, [np.zeros(32_000, np.float32), noise]):
        assert not result.segments


def test_a_folder_without_a_model_says_so(tmp_path: object) -> None:
    with pytest.raises(ModelNotInstalled, match=r"config\.json"):
        ParakeetTranscriber(str(tmp_path)).load()
