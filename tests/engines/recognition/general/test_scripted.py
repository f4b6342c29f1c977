"""The recogniser that clients and tests are written against: the same words, everywhere, always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.scripted import VOCABULARY, WORD_SECONDS, ScriptedRecogniser
from reflector_gpu.types import SAMPLE_RATE, Recognition, Samples, TranscribeOptions, Word


def hear(samples: Samples, language: str | None = None) -> Recognition:
    (found,) = ScriptedRecogniser().transcribe([samples], TranscribeOptions(language=language))
    assert isinstance(found, Recognition)
    return found


def words(samples: Samples) -> list[Word]:
    return [word for segment in hear(samples).segments for word in segment.words]


def ramp(seconds: float) -> Samples:
    return np.linspace(-1, 1, round(seconds * SAMPLE_RATE), dtype=np.float32)


def test_the_words_of_a_known_recording_never_change() -> None:
    assert (
        " ".join(word.text for word in words(ramp(2.5))) == "north birch birch ember sable quartz"
    )


@pytest.mark.parametrize(("seconds", "count"), [(0, 0), (0.39, 0), (0.4, 1), (0.79, 1), (4.0, 10)])
def test_a_word_for_every_slot(seconds: float, count: int) -> None:
    assert len(words(ramp(seconds))) == count


def test_times_follow_from_the_slot() -> None:
    for i, word in enumerate(words(ramp(3))):
        assert word.start == pytest.approx(i * WORD_SECONDS)
        assert word.end == pytest.approx((i + 0.75) * WORD_SECONDS)
        assert word.text in VOCABULARY


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 15_999))
def test_any_change_to_the_audio_shows(seed: int, where: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, 2 * SAMPLE_RATE).astype(np.float32)
    changed = samples.copy()
    changed[where] = -changed[where] + np.float32(0.01)
    assert hear(samples) == hear(samples.copy())
    assert hear(samples) != hear(changed)


@pytest.mark.parametrize(("asked", "told"), [(None, "en"), ("en", "en"), ("fr", "fr")])
def test_its_words_are_in_the_language_of_the_request(asked: str | None, told: str) -> None:
    assert hear(ramp(1), asked).language == told
