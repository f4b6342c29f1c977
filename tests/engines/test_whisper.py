"""Whisper on a tiny trained model in the production format: real words in two languages."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper import WhisperModel

from reflector_gpu.engines.catalog import MODELS
from reflector_gpu.engines.whisper import WhisperTranscriber
from reflector_gpu.errors import ModelNotInstalled
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.engines.tiny import WHISPER, Clip, clips, text_of, words_of, worst_times

TOLERANCE = 0.3


@pytest.fixture(scope="module")
def engine() -> WhisperTranscriber:
    engine = WhisperTranscriber(str(WHISPER))
    engine.load()
    return engine


@pytest.fixture(scope="module", params=["en", "es"])
def spoken(request: pytest.FixtureRequest) -> list[Clip]:
    return clips(request.param)[:8]


def hear(
    engine: WhisperTranscriber, batch: list[Samples], options: TranscribeOptions
) -> list[Recognition]:
    results = engine.transcribe(batch, options)
    found = [result for result in results if isinstance(result, Recognition)]
    assert len(found) == len(batch)
    return found


def test_a_batch_is_heard_word_for_word_where_it_was_spoken(
    engine: WhisperTranscriber, spoken: list[Clip]
) -> None:
    options = TranscribeOptions(language=spoken[0].language)
    results = hear(engine, [clip.samples for clip in spoken], options)
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]
    for result, clip in zip(results, spoken, strict=True):
        starts, ends = worst_times(result, clip)
        assert starts <= TOLERANCE, clip.path.name
        assert ends <= TOLERANCE, clip.path.name


def test_languages_are_told_apart_within_a_batch(engine: WhisperTranscriber) -> None:
    both = [*clips("en")[:3], *clips("es")[:3]]
    results = hear(engine, [clip.samples for clip in both], TranscribeOptions())
    assert [result.language for result in results] == [clip.language for clip in both]
    assert [text_of(result) for result in results] == [clip.text for clip in both]


def test_spanish_is_translated_into_english(engine: WhisperTranscriber) -> None:
    spoken = clips("es")[0]
    options = TranscribeOptions(language="es", task="translate")
    (result,) = hear(engine, [spoken.samples], options)
    assert spoken.text == "hola equipo"
    assert text_of(result) == "hello team"


def test_alone_is_as_in_a_batch(engine: WhisperTranscriber) -> None:
    spoken = clips("en")[:4]
    options = TranscribeOptions(language="en")
    together = hear(engine, [clip.samples for clip in spoken], options)
    for clip, result in zip(spoken, together, strict=True):
        (alone,) = hear(engine, [clip.samples], options)
        assert text_of(alone) == text_of(result)
        for one, other in zip(words_of(alone), words_of(result), strict=True):
            assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.03)


def test_the_text_is_that_of_faster_whisper_itself(engine: WhisperTranscriber) -> None:
    model = WhisperModel(str(WHISPER), device="cpu", compute_type="int8", local_files_only=True)
    spoken = clips("en")[:4]
    ours = hear(engine, [clip.samples for clip in spoken], TranscribeOptions(language="en"))
    for clip, result in zip(spoken, ours, strict=True):
        segments, _ = model.transcribe(clip.samples, language="en")
        assert text_of(result) == " ".join(segment.text.strip() for segment in segments)


def test_scores_come_with_the_segments(engine: WhisperTranscriber) -> None:
    clip = clips("en")[0]
    (result,) = hear(engine, [clip.samples], TranscribeOptions(language="en"))
    scores = result.segments[0].scores
    assert scores is not None
    assert -1 < scores.avg_logprob <= 0
    assert 0 <= scores.no_speech_prob < 0.6
    assert scores.tokens


def test_silence_gives_no_words(engine: WhisperTranscriber) -> None:
    for options in (TranscribeOptions(), TranscribeOptions(language="es")):
        (result,) = hear(engine, [np.zeros(48_000, np.float32)], options)
        assert not result.segments


def test_a_folder_without_a_model_says_so(tmp_path: object) -> None:
    with pytest.raises(ModelNotInstalled, match=r"model\.bin"):
        WhisperTranscriber(str(tmp_path)).load()


def test_a_prompt_and_hotwords_of_any_length_leave_room_for_the_text(
    engine: WhisperTranscriber,
) -> None:
    options = TranscribeOptions(
        language="en", prompt="hello team " * 400, hotwords=("budget",) * 400
    )
    (result,) = hear(engine, [clips("en")[0].samples], options)
    assert result.language == "en"


def test_cantonese_came_with_large_v3() -> None:
    assert "yue" in MODELS["large-v3-turbo"].spec.languages
    assert "yue" not in MODELS["large-v2"].spec.languages
