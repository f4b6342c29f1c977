"""Batches of recordings: their words, their times and their languages."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from reflector_gpu.engines.recognition.whisper import WhisperRecogniser
from reflector_gpu.types import TranscribeOptions
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
