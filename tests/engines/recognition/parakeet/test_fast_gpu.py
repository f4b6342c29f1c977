"""Parakeet by fast-gpu-asr, which needs a card: a stand-in keeps to what its README promises."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from reflector_gpu.engines.recognition.parakeet.models import EUROPEAN, local
from reflector_gpu.engines.recognition.parakeet.onnx import ParakeetRecogniser
from reflector_gpu.engines.recognition.parakeet.tensorrt import TensorrtParakeet
from reflector_gpu.errors import EngineFailed, InvalidRequest, ModelNotInstalled
from reflector_gpu.runtime.placement import layout
from reflector_gpu.types import SAMPLE_RATE, Recognition, Samples, TranscribeOptions
from tests.engines.sounds import STEADY
from tests.engines.tiny import PARAKEET, Clip, clips, text_of, words_of

ENGLISH = TranscribeOptions(language="en")
CAPACITY = 4


class StandIn:
    """Takes "one or more nonempty 1D NumPy float32 waveforms as a list, normalized to [-1, 1]",
    "within the exported batch and duration limits"; gives "(texts, word_timestamps)"."""

    def __init__(self, model_dir: str | Path, device_id: int = 0, validate: bool = True) -> None:
        if "broken" in str(model_dir):
            raise RuntimeError("Could not deserialize the engine.")
        self.encoder = SimpleNamespace(batch_size=CAPACITY, sample_rate=SAMPLE_RATE)
        self.calls: list[list[float]] = []
        self._engine = ParakeetRecogniser(str(PARAKEET))
        self._engine.load()

    def __call__(
        self, audios: list[Samples]
    ) -> tuple[list[str], list[list[tuple[str, float, float]]]]:
        if not isinstance(audios, list) or not 0 < len(audios) <= CAPACITY:
            raise ValueError(f"Expected 1 to {CAPACITY} audio waveforms.")
        for audio in audios:
            if audio.dtype != np.float32 or audio.ndim != 1 or not audio.size:
                raise ValueError("Expected nonempty 1D float32 waveforms.")
            if audio.size > 40 * SAMPLE_RATE:
                raise ValueError("longer than the exported maximum")
        self.calls.append([audio.size / SAMPLE_RATE for audio in audios])
        found = self._engine.transcribe(audios, ENGLISH)
        assert all(isinstance(one, Recognition) for one in found)
        words = [
            [(word.text, round(word.start, 3), round(word.end, 3)) for word in words_of(one)]
            for one in found
            if isinstance(one, Recognition)
        ]
        return [" ".join(word for word, *_ in row) for row in words], words


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fast_gpu_asr")
    module.ASR = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fast_gpu_asr", module)


@pytest.fixture
def engine() -> TensorrtParakeet:
    engine = TensorrtParakeet("bundle")
    engine.load()
    return engine


@pytest.fixture(scope="module")
def spoken() -> list[Clip]:
    return clips("en")[:10]


def test_more_chunks_than_it_takes_at_once_are_heard_in_order(
    engine: TensorrtParakeet, spoken: list[Clip]
) -> None:
    found = engine.transcribe([clip.samples for clip in spoken], ENGLISH)
    for result, clip in zip(found, spoken, strict=True):
        assert isinstance(result, Recognition)
        assert (text_of(result), result.language) == (clip.text, "en")
        assert all(word.start < word.end and not word.tokens for word in words_of(result))
    assert isinstance(engine._asr, StandIn)
    lengths = engine._asr.calls
    assert [len(call) for call in lengths] == [4, 4, 2]
    padded = [second for call in lengths for second in call]
    assert padded == sorted(padded, reverse=True)


def test_chunks_that_cannot_be_heard_have_results_of_their_own(
    engine: TensorrtParakeet, spoken: list[Clip]
) -> None:
    bad = np.full(SAMPLE_RATE, np.nan, np.float32)
    none = np.zeros(0, np.float32)
    found = engine.transcribe([bad, spoken[0].samples, none, *STEADY.values()], ENGLISH)
    assert isinstance(found[0], InvalidRequest)
    assert isinstance(found[1], Recognition)
    assert text_of(found[1]) == spoken[0].text
    assert found[2] == Recognition()
    assert all(isinstance(one, Recognition) and not text_of(one) for one in found[3:])
    assert engine.transcribe([], ENGLISH) == []


def test_what_the_engines_were_not_built_for_fails(engine: TensorrtParakeet) -> None:
    with pytest.raises(EngineFailed, match="batch of 1: longer than the exported maximum"):
        engine.transcribe([np.zeros(41 * SAMPLE_RATE, np.float32)], ENGLISH)


def test_engines_of_another_card_are_to_be_exported_again() -> None:
    with pytest.raises(ModelNotInstalled, match=r"deserialize.*export it again, on this card"):
        TensorrtParakeet("broken").load()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_gpu_asr", None)
    with pytest.raises(ModelNotInstalled, match=r"reflector-gpu\[tensorrt\]"):
        TensorrtParakeet("bundle").load()


@pytest.mark.parametrize(("pieces", "languages"), [(1025, frozenset({"en"})), (8193, EUROPEAN)])
def test_a_folder_that_was_exported_is_a_model(
    tmp_path: Path, pieces: int, languages: frozenset[str]
) -> None:
    (tmp_path / "model_config.yaml").write_text(f"model_type: parakeet_asr\nvocab_size: {pieces}\n")
    assert local("mine", tmp_path) is None
    for name in ("parakeet.trt", "bpe.model"):
        (tmp_path / name).touch()
    model = local("mine", tmp_path)
    assert model is not None
    assert (model.extra, model.spec.languages, model.spec.logprobs) == (
        "tensorrt",
        languages,
        False,
    )
    (placement,) = layout(["cuda:1"], model.spec.devices, cores=4)
    assert (placement.device, placement.visible) == ("tensorrt", "1")
