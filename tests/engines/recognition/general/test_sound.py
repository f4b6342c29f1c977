"""Words are held against the sound: where it never changes, nobody spoke."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.sound import beside_sound, fitted_to_sound, spoken
from reflector_gpu.types import SAMPLE_RATE, Samples, Word
from tests.engines.sounds import STEADY, clicks, hum, noise, silence, tone
from tests.engines.tiny import Clip, clips

CLIPS = [*clips("en"), *clips("es")]


def words_over(samples: Samples, length: float = 0.3) -> list[Word]:
    """A word at every quarter of a second."""
    starts = np.arange(0, len(samples) / SAMPLE_RATE - length, 0.25)
    return [Word("word", float(start), float(start) + length) for start in starts]


def mixed(samples: Samples, decibels: float, slope: float) -> Samples:
    """``samples`` under noise that is so much softer."""
    level = float(samples.std()) * 10 ** (-decibels / 20)
    return samples + noise(len(samples) / SAMPLE_RATE, level, slope)


@pytest.mark.parametrize("name", STEADY)
def test_nobody_speaks_in_a_sound_that_never_changes(name: str) -> None:
    words = words_over(STEADY[name])
    assert words
    assert not any(spoken(words, STEADY[name]))


@settings(max_examples=50)
@given(
    hertz=st.floats(60, 7000),
    seconds=st.floats(0.5, 8),
    level=st.floats(1e-4, 1),
    slope=st.sampled_from([None, 0.0, 0.5, 1.0]),
)
def test_nobody_speaks_in_tones_and_noise_of_any_kind(
    hertz: float, seconds: float, level: float, slope: float | None
) -> None:
    sound = tone(hertz, seconds, level) if slope is None else noise(seconds, level, slope)
    assert not any(spoken(words_over(sound), sound))


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.path.stem)
@pytest.mark.parametrize("slope", [0.0, 0.5], ids=["white", "pink"])
@pytest.mark.parametrize("decibels", [60, 20, 10, 0])
def test_every_word_that_was_spoken_changes_the_sound(
    clip: Clip, decibels: float, slope: float
) -> None:
    assert all(spoken(clip.words, mixed(clip.samples, decibels, slope)))


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.path.stem)
@pytest.mark.parametrize("level", [1.0, 1e-4])
def test_so_does_each_alone_and_however_softly(clip: Clip, level: float) -> None:
    for word in clip.words:
        first, last = int(word.start * SAMPLE_RATE), int(word.end * SAMPLE_RATE)
        alone = clip.samples[first:last] * np.float32(level)
        assert spoken([Word(word.text, 0.0, word.end - word.start)], alone) == [True]


@pytest.mark.parametrize(
    "after",
    [silence(4), noise(4), hum(50, 4), tone(1000, 4)],
    ids=["silence", "noise", "hum", "tone"],
)
def test_words_after_the_speech_is_over_are_not_spoken(after: Samples) -> None:
    clip = CLIPS[0]
    end = len(clip.samples) / SAMPLE_RATE
    invented = [Word("thank", end + 1.0, end + 1.3), Word("you", end + 1.3, end + 3.9)]
    found = spoken([*clip.words, *invented], np.concatenate([clip.samples, after]))
    assert found == [True] * len(clip.words) + [False, False]


def test_words_whose_times_are_wrong_stay() -> None:
    """The aligner put them into the tone, but what changes is behind it."""
    clip = CLIPS[0]
    samples = np.concatenate([tone(1000, 4), clip.samples])
    assert all(spoken(clip.words, samples))


def test_a_voice_far_softer_than_a_bang_is_heard() -> None:
    clip = CLIPS[0]
    samples = np.concatenate([clicks(1, 0.5), silence(0.5), clip.samples * np.float32(0.005)])
    late = [Word(word.text, word.start + 1, word.end + 1) for word in clip.words]
    assert all(spoken(late, samples))


@pytest.mark.parametrize("count", [0, 1, 200, 1600])
def test_next_to_no_sound_is_no_failure(count: int) -> None:
    samples = noise(1.0)[:count]
    word = Word("word", 0.0, count / SAMPLE_RATE)
    assert len(spoken([word], samples)) == 1
    assert fitted_to_sound([word], samples) == [word]
    assert spoken([], samples) == []


def test_a_word_takes_no_silence_in() -> None:
    samples = np.concatenate([silence(1), tone(300, 1), silence(1)])
    (word,) = fitted_to_sound([Word("word", 0.2, 2.8)], samples)
    assert (word.start, word.end) == pytest.approx((1.0, 2.0), abs=0.02)


def test_the_last_word_lasts_while_its_sound_does() -> None:
    samples = np.concatenate([silence(1), tone(300, 1), silence(1)])
    first, last = fitted_to_sound([Word("one", 1.0, 1.4), Word("two", 1.4, 1.8)], samples)
    assert (first.start, first.end) == pytest.approx((1.0, 1.4), abs=0.02)
    assert last.end == pytest.approx(2.0, abs=0.02)


def word(text: str, start: float, probability: float = 0.9) -> Word:
    return Word(text, start, start + 0.5, probability)


@pytest.mark.parametrize(
    ("words", "spoken", "expected"),
    [
        # The end of a sentence whose beginning was spoken.
        ([word("of", 1), word("clubs.", 5)], [True, False], [("of", 1), ("clubs.", 1.5)]),
        # Between two that were.
        (
            [word("of", 1), word("the", 3), word("clubs.", 1.6)],
            [True, False, True],
            [("of", 1), ("the", 1.5), ("clubs.", 1.6)],
        ),
        # Another sentence, which nobody said.
        (
            [word("done.", 1), word("Thank", 5), word("you.", 6)],
            [True, False, False],
            [("done.", 1)],
        ),
        # Improbable, or with nothing beside it.
        ([word("of", 1), word("clubs.", 5, 0.2)], [True, False], [("of", 1)]),
        ([word("clubs.", 5)], [False], []),
    ],
)
def test_words_that_an_aligner_put_into_silence_are_moved_beside_their_sentence(
    words: list[Word], spoken: list[bool], expected: list[tuple[str, float]]
) -> None:
    found = beside_sound(words, spoken)
    assert [(one.text, one.start) for one in found] == expected
    for before, after in pairwise(found):
        assert before.end <= after.start or before.start <= after.start
    assert all(one.start <= one.end for one in found)
