"""How one recording is decoded: its text, its scores, the room for tokens, too little memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import ctranslate2
import numpy as np
import pytest
from faster_whisper import WhisperModel

from reflector_gpu.engines.recognition import whisper_decoding
from reflector_gpu.engines.recognition.whisper import WhisperRecogniser
from reflector_gpu.errors import EngineFailed
from reflector_gpu.pipeline import unheard
from reflector_gpu.types import SAMPLE_RATE, Chunk, Recognition, Samples, TranscribeOptions
from tests.engines.recognition.whisper.hearing import ENGLISH, Meddled, hear
from tests.engines.sounds import noise
from tests.engines.tiny import WHISPER, clips, text_of, words_of


def test_the_text_is_that_of_faster_whisper_itself(engine: WhisperRecogniser) -> None:
    model = WhisperModel(str(WHISPER), device="cpu", compute_type="int8", local_files_only=True)
    spoken = clips("en")[:4]
    ours = hear(engine, [clip.samples for clip in spoken], TranscribeOptions(language="en"))
    for clip, result in zip(spoken, ours, strict=True):
        segments, _ = model.transcribe(clip.samples, language="en")
        assert text_of(result) == " ".join(segment.text.strip() for segment in segments)


def test_live_audio_is_heard_without_a_whole_window_of_silence(
    engine: WhisperRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clips("en")[0]
    whole = hear(engine, [clip.samples], ENGLISH)
    heard: list[int] = []
    encode = WhisperModel.encode

    def counted(model: WhisperModel, features: Samples) -> ctranslate2.StorageView:
        heard.append(features.shape[-1])
        return encode(model, features)

    monkeypatch.setattr(WhisperModel, "encode", counted)
    live = hear(engine, [clip.samples], replace(ENGLISH, live=True))
    assert heard == [len(clip.samples) // 160 + 500]
    assert text_of(live[0]) == text_of(whole[0])


def test_scores_come_with_the_segments(engine: WhisperRecogniser) -> None:
    clip = clips("en")[0]
    (result,) = hear(engine, [clip.samples], TranscribeOptions(language="en"))
    scores = result.segments[0].scores
    assert scores is not None
    assert -1 < scores.avg_logprob <= 0
    assert 0 <= scores.no_speech_prob < 0.6
    assert result.segments[0].tokens


@pytest.mark.parametrize("seconds", [1, 2, 4, 30])
def test_there_is_room_for_languages_that_take_many_tokens(
    engine: WhisperRecogniser,
    inner: WhisperModel,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
) -> None:
    """Burmese takes up to fifty a second."""
    real, rooms = inner.model, []

    def generate(encoded: Any, prompts: Any, *, max_length: int, **options: Any) -> Any:
        rooms.append(min(max_length // 2, max_length - len(prompts[0]) + 1))
        return real.generate(encoded, prompts, max_length=max_length, **options)

    monkeypatch.setattr(inner, "model", Meddled(real, generate=generate))
    hear(engine, [noise(seconds)], ENGLISH)
    hear(engine, [noise(seconds)], TranscribeOptions(language="en", prompt="hello team " * 20))
    assert min(rooms) >= min(50 * seconds, 448 // 2)


@pytest.mark.parametrize("method", ["encode", "detect_language", "generate", "align"])
def test_a_batch_too_large_for_the_device_fails_as_a_whole_and_its_halves_do_not(
    together: WhisperRecogniser,
    inner: WhisperModel,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    spoken = clips("en")[:2]
    real = getattr(inner.model, method)

    def short_of_memory(rows: Any, *args: Any, **options: Any) -> Any:
        if rows.shape[0] > 1:
            raise RuntimeError("CUDA failed with error out of memory")
        return real(rows, *args, **options)

    monkeypatch.setattr(inner, "model", Meddled(inner.model, **{method: short_of_memory}))
    with pytest.raises(EngineFailed, match=r"batch of 2.*out of memory"):
        together.transcribe([clip.samples for clip in spoken], TranscribeOptions())
    for half in spoken:
        (result,) = hear(together, [half.samples], TranscribeOptions())
        assert text_of(result) == half.text


def test_a_prompt_and_hotwords_of_any_length_leave_room_for_the_text(
    engine: WhisperRecogniser,
) -> None:
    options = TranscribeOptions(
        language="en", prompt="hello team " * 400, hotwords=("budget",) * 400
    )
    (result,) = hear(engine, [clips("en")[0].samples], options)
    assert result.language == "en"


def test_text_that_is_longer_than_the_decoder_may_write_is_heard_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In int8, some processors hear other words.
    engine = WhisperRecogniser(str(WHISPER), compute_type="float32")
    engine.load()
    spoken = list({clip.text: clip for clip in clips("en")}.values())[:6]
    samples = np.concatenate([clip.samples for clip in spoken])[: 30 * SAMPLE_RATE]
    (untroubled,) = hear(engine, [samples], ENGLISH)
    words = words_of(untroubled)
    monkeypatch.setattr(whisper_decoding, "_MAX_TEXT", len(words) // 2)

    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        return hear(engine, [chunk.samples], options)[0]

    (stopped,) = hear(engine, [samples], ENGLISH)
    assert len(words_of(stopped)) < len(words)
    voiced = ((words[0].start, words[-1].end),)
    found = asyncio.run(unheard.hear(Chunk(samples, 0.0, voiced), ENGLISH, recognise))
    assert text_of(found.recognition).split()[-3:] == text_of(untroubled).split()[-3:]
    assert len(words_of(found.recognition)) >= 0.8 * len(words)
