"""The growing window: what it settles, and that it stays short."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.vad import WINDOW, VadOptions
from reflector_gpu.live.agreement import plain
from reflector_gpu.live.speech import Speech
from reflector_gpu.live.window import PATIENCE, Lengths, Window
from reflector_gpu.types import SAMPLE_RATE, Samples, Word
from tests.live_recognition.talk import BLOCK, Listener, loudness, run, spoken, window

WORDS = st.lists(
    st.tuples(
        st.sampled_from("we you they went come home today again no yes".split()),
        st.floats(0.15, 0.7),  # seconds of the word
        st.one_of(st.floats(0.0, 0.3), st.floats(0.0, 6.0)),  # seconds of the pause behind it
    ),
    max_size=60,
)


def talk(parts: Sequence[tuple[str, float, float]]) -> tuple[list[Word], float]:
    """Words one after the other, and how long that takes."""
    now = 0.3
    words: list[Word] = []
    for text, length, pause in parts:
        words.append(Word(text, now, now + length))
        now += length + pause
    return words, now + 0.1


def texts(words: Sequence[Word]) -> list[str]:
    return [plain(word) for word in words]


@given(WORDS, st.floats(0.4, 12.0), st.integers(0, 99))
def test_each_word_is_told_once_and_in_order(
    parts: list[tuple[str, float, float]], step: float, seed: int
) -> None:
    words, seconds = talk(parts)
    told = run(spoken(words, seconds), Listener(words, seed=seed), window(), step)
    settled = [word for some, _ in told for word in some]
    assert texts(settled) == texts(words)
    assert all(one.end <= other.start for one, other in pairwise(settled))
    for word, true in zip(settled, words, strict=True):
        assert word.start == pytest.approx(true.start, abs=0.2)


@given(WORDS, st.floats(0.4, 12.0), st.floats(0.0, 1.0), st.integers(0, 99))
def test_windows_stay_short_and_times_ascend_whatever_is_heard(
    parts: list[tuple[str, float, float]], step: float, errors: float, seed: int
) -> None:
    words, seconds = talk(parts)
    told = run(spoken(words, seconds), Listener(words, errors, seed), window(), step)
    settled = [word for some, _ in told for word in some]
    assert all(one.end <= other.start for one, other in pairwise(settled))
    assert all(chunk.duration <= Lengths().longest for _, chunk in told)
    assert all(one.start <= other.start for (_, one), (_, other) in pairwise(told))


def test_a_word_is_told_once_two_passes_agree_on_it() -> None:
    one = window()
    one.push(np.ones(2 * SAMPLE_RATE, np.float32))
    first = one.chunk()
    assert one.take([Word("we", 0.2, 0.5), Word("went", 0.5, 0.9)], first, last=False) == ()
    assert [word.text for word in one.tentative] == ["we", "went"]
    one.push(np.ones(SAMPLE_RATE, np.float32))
    again = [Word("We", 0.2, 0.5), Word("want", 0.5, 0.9), Word("home", 1.0, 1.4)]
    assert [word.text for word in one.take(again, one.chunk(), last=False)] == ["We"]
    assert [word.text for word in one.tentative] == ["want", "home"]


def test_one_pass_suffices_for_words_of_which_the_recogniser_is_sure() -> None:
    one = Window(Speech(loudness, VadOptions()), Lengths(), sure=0.7)
    one.push(np.ones(2 * SAMPLE_RATE, np.float32))
    heard = [
        Word("we", 0.2, 0.5, 0.7),
        Word("went", 0.5, 0.9, 0.9),
        Word("hum", 0.9, 1.2, 0.6),
        Word("today", 1.2, 1.6, 0.9),
    ]
    assert texts(one.take(heard, one.chunk(), last=False)) == ["we", "went"]
    assert texts(one.tentative) == ["hum", "today"]


def test_nobody_is_sure_of_a_word_at_the_end_of_a_pass() -> None:
    one = Window(Speech(loudness, VadOptions()), Lengths(), sure=0.7)
    one.push(np.ones(2 * SAMPLE_RATE, np.float32))
    heard = [Word("we", 0.2, 0.5, 0.9), Word("want", 1.5, 1.9, 0.9)]
    assert texts(one.take(heard, one.chunk(), last=False)) == ["we"]


def test_a_word_without_a_probability_waits_for_a_second_pass() -> None:
    one = Window(Speech(loudness, VadOptions()), Lengths(), sure=0.7)
    one.push(np.ones(2 * SAMPLE_RATE, np.float32))
    assert one.take([Word("we", 0.2, 0.5)], one.chunk(), last=False) == ()


def test_one_pass_suffices_behind_a_pause() -> None:
    one = window()
    one.push(spoken([Word("yes", 0.5, 1.5)], 2.0))
    assert (one.pausing, one.open) == (True, True)
    settled = one.take([Word("Yes.", 0.5, 1.5)], one.chunk(), last=False)
    assert [word.text for word in settled] == ["Yes."]
    assert (one.pausing, one.open) == (False, False)


def test_a_word_that_passes_never_agree_on_is_told_at_last() -> None:
    one = window()
    settled: list[Word] = []
    for number in range(12):
        one.push(np.ones(SAMPLE_RATE, np.float32))
        heard = [Word(f"w{number}", 0.1, 0.5), Word("end", number + 0.1, number + 0.9)]
        settled += one.take(heard, one.chunk(), last=False)
    assert settled[0].text == f"w{int(PATIENCE)}"


def test_noise_without_words_is_forgotten() -> None:
    one = window()
    for _ in range(90):
        one.push(np.ones(SAMPLE_RATE, np.float32))
        one.take([], one.chunk(), last=False)
        assert one.seconds <= Lengths().longest


def test_noise_behind_a_word_is_forgotten() -> None:
    one = window()
    told: list[Word] = []
    for _ in range(90):
        one.push(np.ones(SAMPLE_RATE, np.float32))
        chunk = one.chunk()
        heard = [Word("Hello", 0.5, 1.0)] if chunk.start < 0.5 else []
        told += one.take(heard, chunk, last=False)
        assert one.seconds <= Lengths().longest
    assert texts(told) == ["hello"]
    while one.open:
        one.take([], one.chunk(), last=True)


def test_silence_is_not_heard_and_not_kept() -> None:
    one = window()
    for _ in range(3000):
        one.push(np.zeros(BLOCK, np.float32))
        assert not one.pausing
        assert one.fresh == 0.0
    assert not one.open
    assert one.seconds < 3.0


def test_a_word_where_nobody_speaks_is_not_told() -> None:
    one = window()
    one.push(spoken([Word("hello", 0.5, 1.0)], 6.0))
    heard = [Word("Hello.", 0.5, 1.0), Word("Thanks", 4.0, 4.5), Word("bye!", 4.5, 5.0)]
    assert [word.text for word in one.take(heard, one.chunk(), last=True)] == ["Hello."]


def test_a_window_begins_anew_behind_a_long_pause() -> None:
    one = window()
    one.push(spoken([Word("hello", 0.5, 1.0)], 6.0))
    one.take([Word("Hello.", 0.5, 1.0)], one.chunk(), last=False)
    one.push(spoken([Word("again", 0.5, 1.0)], 1.0))
    assert one.chunk().start > 5.0


def test_what_was_listened_to_is_not_listened_to_again() -> None:
    def deaf(samples: Samples) -> Samples:
        raise AssertionError("the detector runs twice")

    speech = Speech(deaf, VadOptions())
    samples = np.zeros(WINDOW, np.float32)
    for probability in (0.9, 0.9, 0.0):
        speech.listen(samples, np.array([probability], np.float32))
    speech.listen(samples[: WINDOW // 2])  # what is left at the end makes no window
    assert (speech.after(0), speech.end) == (0, 2 * WINDOW)


@given(WORDS, WORDS, st.floats(0.4, 4.0), st.floats(0.0, 9.0), st.integers(0, 99))
def test_what_was_said_before_is_heard_again_and_not_told_again(
    before: list[tuple[str, float, float]],
    after: list[tuple[str, float, float]],
    step: float,
    kept: float,
    seed: int,
) -> None:
    words, seconds = talk(before)
    first = window()
    run(spoken(words, seconds), Listener(words, seed=seed), first, step)
    context = first.context(kept)
    new, seconds = talk(after)
    second = Window(Speech(loudness, VadOptions()), Lengths(), context=context)
    known = list(context.words) if context else []
    told = run(spoken(new, seconds), Listener([*known, *new], seed=seed), second, step)
    settled = [word for some, _ in told for word in some]
    assert texts(settled) == texts(new)
    assert all(word.start >= 0 for word in settled)
    assert all(chunk.duration <= Lengths().longest for _, chunk in told)


def test_the_context_is_the_end_of_what_was_said_from_a_word_on() -> None:
    words = [Word("one", 0.5, 0.9), Word("two", 1.0, 1.4), Word("three", 1.5, 1.9)]
    one = window()
    one.push(spoken(words, 3.0))
    one.take(words, one.chunk(), last=True)
    context = one.context(0.6)
    assert context
    assert [word.text for word in context.words] == ["three"]
    assert context.words[0].end == pytest.approx(-0.5, abs=0.05)  # with a little silence behind it
    assert len(context.samples) == pytest.approx(1.0 * SAMPLE_RATE, abs=2 * WINDOW)
    assert context.speech[-1][1] == pytest.approx(-0.5, abs=0.05)
    assert one.context(0.2) is None  # nobody says a whole word in so short a time
