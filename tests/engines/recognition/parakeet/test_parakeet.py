"""Parakeet on a tiny trained model in the production format: real words, real times."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import onnx_asr
import onnxruntime
import pytest
from onnx_asr.models.nemo import NemoConformerTdt
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException
from onnxruntime.quantization import quantize_dynamic

from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.parakeet.models import local
from reflector_gpu.engines.recognition.parakeet.onnx import ParakeetRecogniser
from reflector_gpu.errors import EngineFailed, ModelNotInstalled
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.engines.sounds import STEADY
from tests.engines.tiny import PARAKEET, Clip, clips, text_of, words_of, worst_times

ENGLISH = TranscribeOptions(language="en")
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def engine() -> ParakeetRecogniser:
    engine = ParakeetRecogniser(str(PARAKEET))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def spoken() -> list[Clip]:
    return clips("en")


@pytest.fixture(scope="module")
def batched(engine: ParakeetRecogniser, spoken: list[Clip]) -> list[Recognition]:
    """All clips, whatever their lengths, in one batch."""
    return hear(engine, [clip.samples for clip in spoken])


def hear(engine: ParakeetRecogniser, batch: list[Samples]) -> list[Recognition]:
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


def test_a_chunk_alone_gives_what_it_gives_in_a_batch(
    engine: ParakeetRecogniser, batched: list[Recognition], spoken: list[Clip]
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


def test_no_speech_gives_no_words(engine: ParakeetRecogniser) -> None:
    for name, result in zip(STEADY, hear(engine, list(STEADY.values())), strict=True):
        assert text_of(result) == "", name


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the quantised networks."""
    folder = tmp_path_factory.mktemp("parakeet-int8")
    for name in ("encoder-model", "decoder_joint-model"):
        quantize_dynamic(PARAKEET / f"{name}.onnx", folder / f"{name}.int8.onnx")
    for name in ("vocab.txt", "config.json"):
        shutil.copy(PARAKEET / name, folder)
    return folder


def test_the_quantised_model_of_a_folder_is_found_and_hears_as_well(
    int8: Path, spoken: list[Clip]
) -> None:
    model = local("mine", int8)
    assert model is not None
    assert (model.spec.max_batch, model.spec.devices) == (1, ("cpu",))
    engine = ParakeetRecogniser(**model.arguments)
    engine.load()
    results = hear(engine, [clip.samples for clip in spoken])
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]
    for result, clip in zip(results, spoken, strict=True):
        assert max(worst_times(result, clip)) <= TOLERANCE, clip.path.name
    # Its scales are those of a whole tensor: a neighbour would show, if there were one.
    for result, clip in list(zip(results, spoken, strict=True))[::6]:
        assert hear(engine, [clip.samples]) == [result]


def test_a_folder_with_both_means_the_exact_one(int8: Path, tmp_path: Path) -> None:
    for folder in (int8, PARAKEET):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    model = local("mine", tmp_path)
    assert model is not None
    assert model.arguments == {"weights": str(tmp_path)}
    assert model.spec.max_batch > 1


def test_a_folder_that_lacks_the_precision_asked_for_says_so(int8: Path) -> None:
    with pytest.raises(ModelNotInstalled, match="nemo-conformer-tdt"):
        ParakeetRecogniser(str(int8)).load()
    with pytest.raises(ModelNotInstalled, match="int8"):
        ParakeetRecogniser(str(PARAKEET), quantization="int8").load()


REPOSITORY = (
    *("config.json", "vocab.txt", "nemo128.onnx", "README.md"),
    *("encoder-model.onnx", "encoder-model.onnx.data", "decoder_joint-model.onnx"),
    *("encoder-model.int8.onnx", "decoder_joint-model.int8.onnx"),
)
"""What is in the repositories of v2 and v3."""


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_of_a_repository_with_both_only_what_is_needed_is_fetched(version: str) -> None:
    fetched: dict[str, set[str]] = {}
    for name in (f"nvidia/parakeet-tdt-0.6b-{version}", f"nvidia/parakeet-tdt-0.6b-{version}-int8"):
        weights = MODELS[name].weights
        assert weights is not None
        fetched[name] = {
            file for file in REPOSITORY if any(fnmatch(file, p) for p in weights.patterns)
        }
        assert fetched[name] == set(weights.required)
    exact, quantised = fetched.values()
    assert exact & quantised == {"vocab.txt", "config.json"}
    assert "encoder-model.onnx.data" in exact
    assert "encoder-model.int8.onnx" in quantised


def test_the_quantised_ones_know_the_same_languages() -> None:
    for version in ("v2", "v3"):
        exact = MODELS[f"nvidia/parakeet-tdt-0.6b-{version}"]
        quantised = MODELS[f"nvidia/parakeet-tdt-0.6b-{version}-int8"]
        assert quantised.spec.languages == exact.spec.languages
        assert quantised.arguments == {"quantization": "int8"}
        assert quantised.spec.max_batch == 1


@pytest.mark.parametrize("network", ["_encoder", "_decoder_joint"])
@pytest.mark.parametrize(
    "failure",
    [
        RuntimeException("BFCArena::AllocateRawInternal Failed to allocate memory for 9 bytes"),
        Fail("CUDA failure 2: out of memory"),
        MemoryError("Unable to allocate 9 bytes of memory"),
    ],
    ids=["arena", "device", "host"],
)
def test_a_batch_too_large_for_the_device_fails_as_a_whole_and_its_halves_do_not(
    spoken: list[Clip], monkeypatch: pytest.MonkeyPatch, network: str, failure: Exception
) -> None:
    engine = ParakeetRecogniser(str(PARAKEET))
    engine.load()
    model: Any = getattr(engine._head, "_model")  # noqa: B009  either head has it
    session: Any = getattr(model, network)

    class ShortOfMemory:
        def run(self, names: list[str], inputs: dict[str, Any]) -> Any:
            if any(len(value) > 2 for name, value in inputs.items() if "states" not in name):
                raise failure
            return session.run(names, inputs)

        def get_inputs(self) -> Any:
            return session.get_inputs()

    monkeypatch.setattr(model, network, ShortOfMemory())
    with pytest.raises(EngineFailed, match=r"batch of 4.*memory"):
        engine.transcribe([clip.samples for clip in spoken[:4]], ENGLISH)
    for half in (spoken[:2], spoken[2:4]):
        results = hear(engine, [clip.samples for clip in half])
        assert [text_of(result) for result in results] == [clip.text for clip in half]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_named_and_not_replaced_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelNotInstalled, match=rf"'{device}'.*onnxruntime-gpu"):
        ParakeetRecogniser(str(PARAKEET), device=device).load()


def test_a_folder_without_a_model_says_so(tmp_path: object) -> None:
    with pytest.raises(ModelNotInstalled, match=r"config\.json"):
        ParakeetRecogniser(str(tmp_path)).load()
