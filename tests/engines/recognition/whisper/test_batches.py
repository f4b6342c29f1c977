"""Batches of recordings: their words, their times and their languages."""

from __future__ import annotations

import asyncio
import threading
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
from tests.engines.recognition.whisper.hearing import ENGLISH, SLOW, TOLERANCE, Meddled, hear
from tests.engines.sounds import noise, silence
from tests.engines.tiny import WHISPER, Clip, clips, text_of, words_of, worst_times


@pytest.fixture(scope="module", params=["en", pytest.param("es", marks=SLOW)])
def spoken(request: pytest.FixtureRequest) -> list[Clip]:
    return clips(request.param)[::2]


def test_a_batch_is_heard_word_for_word_where_it_was_spoken(
    engine: WhisperRecogniser, spoken: list[Clip]
) -> None:
    options = TranscribeOptions(language=spoken[0].language)
    results = hear(engine, [clip.samples for clip in spoken], options)
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]
    for result, clip in zip(results, spoken, strict=True):
        starts, ends = worst_times(result, clip)
        assert starts <= TOLERANCE, clip.path.name
        assert ends <= TOLERANCE, clip.path.name


def test_languages_are_told_apart_within_a_batch(engine: WhisperRecogniser) -> None:
    both = [*clips("en")[:3], *clips("es")[:3]]
    results = hear(engine, [clip.samples for clip in both], TranscribeOptions())
    assert [result.language for result in results] == [clip.language for clip in both]
    assert all(0.5 < result.certainty <= 1 for result in results)
    told = hear(engine, [both[0].samples], TranscribeOptions(languages=("es",)))
    assert [(one.language, one.certainty) for one in told] == [("es", 1.0)]
    assert [text_of(result) for result in results] == [clip.text for clip in both]


def test_spanish_is_translated_into_english(engine: WhisperRecogniser) -> None:
    spoken = clips("es")[0]
    options = TranscribeOptions(language="es", task="translate")
    (result,) = hear(engine, [spoken.samples], options)
    assert spoken.text == "hola equipo"
    assert text_of(result) == "hello team"


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(),
        pytest.param(TranscribeOptions(language="es", task="translate"), marks=SLOW),
        pytest.param(
            TranscribeOptions(language="en", prompt="hello team", hotwords=("budget", "agenda")),
            marks=SLOW,
        ),
    ],
    ids=["detected", "translate", "prompt"],
)
def test_alone_is_as_in_a_batch_of_languages_lengths_and_no_speech(
    together: WhisperRecogniser, options: TranscribeOptions
) -> None:
    heard = [clip.samples for clip in (*clips("en")[::9], *clips("es")[::6])]
    mixed = [
        *heard,
        np.concatenate([heard[0], silence(2.5), heard[-1]]),
        heard[1][:6000],
        noise(8.0),
        silence(1.0),
    ]
    for samples, result in zip(mixed, hear(together, mixed, options), strict=True):
        (alone,) = hear(together, [samples], options)
        assert alone.language == result.language
        assert text_of(alone) == text_of(result)
        for one, other in zip(words_of(alone), words_of(result), strict=True):
            assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.03)


def test_on_a_cpu_nothing_depends_on_what_is_beside_it(engine: WhisperRecogniser) -> None:
    heard = [*(clip.samples for clip in clips("en")[:5]), noise(8.0), clips("es")[0].samples]
    alone = [hear(engine, [samples], TranscribeOptions())[0] for samples in heard]
    assert hear(engine, heard, TranscribeOptions()) == alone


def test_on_a_cpu_the_chunks_of_a_batch_are_heard_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    engine = WhisperRecogniser(str(WHISPER))
    engine.load()
    assert engine._decoder is not None
    model = engine._decoder._model
    real, both = model.model, threading.Barrier(2, timeout=60)  # broken unless two meet

    def generate(encoded: Any, *args: Any, **options: Any) -> Any:
        both.wait()
        return real.generate(encoded, *args, **options)

    monkeypatch.setattr(model, "model", Meddled(real, generate=generate))
    spoken = clips("en")[:2]
    results = hear(engine, [clip.samples for clip in spoken], ENGLISH)
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]
    engine.close()


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
