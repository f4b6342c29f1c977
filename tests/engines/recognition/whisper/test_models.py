"""Which models of Whisper there are, what each can do, and what a device can compute."""

from __future__ import annotations

import json
from pathlib import Path

import ctranslate2
import pytest

from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.resolution import Recognisers
from reflector_gpu.engines.recognition.whisper import WhisperRecogniser, local
from reflector_gpu.errors import ModelNotInstalled
from tests.engines.recognition.whisper.hearing import ENGLISH, hear
from tests.engines.tiny import WHISPER, clips, text_of


@pytest.mark.parametrize(("threads", "chunks"), [(1, 1), (2, 2), (64, 4)])
def test_a_cpu_is_given_no_more_chunks_at_once_than_it_has_threads(
    threads: int, chunks: int
) -> None:
    assert MODELS["base"].spec.on_cpu(threads).max_batch == chunks


@pytest.mark.parametrize("compute_type", ["int8", "float32", "auto"])
def test_the_compute_type_makes_no_difference_to_the_words(compute_type: str) -> None:
    engine = WhisperRecogniser(str(WHISPER), compute_type=compute_type)
    engine.load()
    spoken = clips("en")[:2]
    results = hear(engine, [clip.samples for clip in spoken], ENGLISH)
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]


@pytest.mark.parametrize("compute_type", ["float16", "int4"])
def test_a_compute_type_that_the_device_lacks_is_told_the_others(compute_type: str) -> None:
    engine = WhisperRecogniser(str(WHISPER), compute_type=compute_type)
    with pytest.raises(ModelNotInstalled, match=f"'{compute_type}'.*float32.*int8"):
        engine.load()


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelNotInstalled, match="'cuda'"):
        WhisperRecogniser(str(WHISPER), device="cuda").load()


def test_a_folder_without_a_model_says_so(tmp_path: object) -> None:
    with pytest.raises(ModelNotInstalled, match=r"model\.bin"):
        WhisperRecogniser(str(tmp_path)).load()


def test_cantonese_came_with_large_v3() -> None:
    assert "yue" in MODELS["large-v3-turbo"].spec.languages
    assert "yue" not in MODELS["large-v2"].spec.languages


@pytest.mark.parametrize("name", ["vocabulary.txt", "vocabulary.json"])
@pytest.mark.parametrize(("entries", "languages"), [(51_864, 1), (51_865, 99)])
def test_a_folder_is_asked_which_languages_it_speaks(
    tmp_path: Path, name: str, entries: int, languages: int
) -> None:
    """The tokenizer of an English-only model has all languages in it."""
    tokens = [f"token{i}" for i in range(entries)]
    written = json.dumps(tokens) if name.endswith("json") else "\n".join(tokens)
    (tmp_path / name).write_text(written)
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"content": "<|es|>"}]}')
    (tmp_path / "model.bin").touch()
    model = local("mine", tmp_path)
    assert model is not None
    assert len(model.spec.languages) == languages
    assert model.spec.translates is model.spec.detects is (languages > 1)


@pytest.mark.parametrize(("layer", "translates"), [(31, True), (3, False), (None, True)])
def test_what_was_cut_down_from_large_v3_does_not_translate(
    tmp_path: Path, layer: int | None, translates: bool
) -> None:
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"content": "<|yue|>"}]}')
    (tmp_path / "model.bin").touch()
    if layer is not None:
        heads = {"alignment_heads": [[2, 4], [layer, 6]]}
        (tmp_path / "config.json").write_text(json.dumps(heads))
    model = local("mine", tmp_path)
    assert model is not None
    assert model.spec.translates is translates
    assert "yue" in model.spec.languages


def test_only_the_full_multilingual_models_translate() -> None:
    able = {"tiny", "base", "small", "medium", "large-v2", "large-v3"}
    unable = {"large-v3-turbo", "distil-large-v3", "distil-large-v3.5", "base.en"}
    assert all(MODELS[name].spec.translates for name in able)
    assert not any(MODELS[name].spec.translates for name in unable)


def test_auto_chooses_one_that_translates() -> None:
    found = Recognisers("auto", automatic=("large-v3-turbo", "small"))
    assert found.resolve("auto", task="translate").name == "small"
