"""The voice detector: what it takes for speech, and that blocks do not matter to it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import faster_whisper
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.audio import vad
from reflector_gpu.audio.vad import (
    WINDOW,
    WINDOW_SECONDS,
    Hysteresis,
    VadOptions,
    VoiceActivity,
)
from reflector_gpu.types import SAMPLE_RATE, Samples

SPEECH = VadOptions().threshold
SECONDS = np.arange(5 * SAMPLE_RATE // WINDOW * WINDOW, dtype=np.float32) / SAMPLE_RATE


def probabilities(samples: Samples, cuts: list[int] | None = None) -> Samples:
    """Of whole windows, fed in pieces that end at the windows ``cuts``."""
    windows = len(samples) // WINDOW
    detector = VoiceActivity()
    edges = sorted({0, windows, *(cut % windows for cut in cuts or [])})
    parts: list[Samples] = [
        detector.probabilities(samples[first * WINDOW : last * WINDOW])
        for first, last in pairwise(edges)
    ]
    return np.concatenate(parts)


def noise(level: float) -> Samples:
    dice = np.random.default_rng(0)
    return (level * dice.standard_normal(len(SECONDS))).astype(np.float32)


def tone(frequency: float) -> Samples:
    return (np.sin(2 * np.pi * frequency * SECONDS) / 2).astype(np.float32)


def hum(hertz: float, length: int, level: float) -> Samples:
    """Of the mains, with two overtones; ``level`` is its root mean square."""
    seconds = np.arange(length) / SAMPLE_RATE
    waves = sum((np.sin(2 * np.pi * hertz * n * seconds) / n for n in (1, 2, 3)), seconds * 0)
    found: Samples = (level / np.sqrt(np.square(waves).mean()) * waves).astype(np.float32)
    return found


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.square(samples).mean()))


@pytest.mark.parametrize(
    "sound",
    [
        lambda: np.zeros_like(SECONDS),
        lambda: np.full_like(SECONDS, 0.5),
        lambda: noise(1e-6),
        lambda: noise(1e-3),
        lambda: noise(0.1),
        lambda: np.cumsum(noise(0.01)).clip(-1, 1).astype(np.float32),
        lambda: tone(50),
        lambda: hum(60, len(SECONDS), 0.001),
        lambda: tone(440),
        lambda: tone(1000),
        lambda: tone(4000),
        lambda: (tone(350) + tone(440)) / 2,
    ],
    ids=[
        "silence",
        "offset",
        "faint",
        "room",
        "hiss",
        "rumble",
        "hum",
        "faint hum",
        "A",
        "1k",
        "4k",
        "dial",
    ],
)
def test_what_is_no_speech(sound: Callable[[], Samples]) -> None:
    found = probabilities(sound())
    # A tone that begins at once may startle the detector for a window or two.
    assert (found >= SPEECH).sum() <= 2


@pytest.fixture(scope="module")
def spoken(reference: list[tuple[float, float]], speech: Samples) -> Samples:
    """Per window: whether it is speech by the reference (1), is none (0), or is at an edge."""
    middle = (np.arange(len(speech) // WINDOW) + 0.5) * WINDOW_SECONDS
    truth = np.zeros(len(middle), np.float32)
    for start, end in reference:
        truth[(middle > start - 0.25) & (middle < end + 0.25)] = 0.5
    for start, end in reference:
        truth[(middle > start) & (middle < end)] = 1
    return truth


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.004])
def test_speech_is_found_however_quiet(gain: float, speech: Samples, spoken: Samples) -> None:
    found = probabilities(speech * np.float32(gain)) >= SPEECH
    assert found[spoken == 1].mean() > 0.9
    assert found[spoken == 0].mean() < 0.05


def test_loud_speech_does_not_hide_quiet_speech_for_long(speech: Samples, spoken: Samples) -> None:
    """A far participant after a near one: the gain recovers."""
    near, far = speech[: 312 * WINDOW], speech * np.float32(0.02)
    found = probabilities(np.concatenate([near * 2, far])) >= SPEECH
    later = slice(int(5 / WINDOW_SECONDS), int(10 / WINDOW_SECONDS))
    assert found[len(near) // WINDOW :][later][spoken[later] == 1].mean() > 0.9


@pytest.mark.parametrize("hertz", [50, 60])
def test_hum_louder_than_speech_does_not_hide_it(
    hertz: int, speech: Samples, spoken: Samples
) -> None:
    found = probabilities(speech + hum(hertz, len(speech), 4 * loudness(speech))) >= SPEECH
    assert found[spoken == 1].mean() > 0.85
    assert found[spoken == 0].mean() < 0.05


def test_probabilities_are_such(speech: Samples) -> None:
    found = probabilities(speech)
    assert found.dtype == np.float32
    assert len(found) == len(speech) // WINDOW
    assert found.min() >= 0
    assert found.max() <= 1


@settings(max_examples=12)
@given(
    st.lists(st.integers(0, 10**6), max_size=40),
    st.integers(0, 50 * SAMPLE_RATE),
    st.sampled_from([1.0, 0.3, 0.01]),
)
def test_any_blocks_give_the_same(
    speech: Samples, cuts: list[int], first: int, gain: float
) -> None:
    piece = speech[first : first + 8 * SAMPLE_RATE] * np.float32(gain)
    assert probabilities(piece, cuts) == pytest.approx(probabilities(piece), abs=1e-5)


def test_window_by_window_gives_the_same(speech: Samples) -> None:
    piece = speech[: 5 * SAMPLE_RATE]
    every = list(range(len(piece) // WINDOW))
    assert probabilities(piece, every) == pytest.approx(probabilities(piece), abs=1e-5)


def test_recordings_do_not_disturb_each_other(speech: Samples) -> None:
    piece = speech[: 4 * SAMPLE_RATE // WINDOW * WINDOW]
    alone = probabilities(piece)
    one, other = VoiceActivity(), VoiceActivity()
    found = []
    for first in range(0, len(piece), 16 * WINDOW):
        found.append(one.probabilities(piece[first : first + 16 * WINDOW]))
        other.probabilities(noise(0.1)[: 16 * WINDOW])
    assert np.concatenate(found) == pytest.approx(alone, abs=1e-5)


def test_the_samples_are_left_alone(speech: Samples) -> None:
    piece = speech[: 100 * WINDOW].copy()
    before = piece.copy()
    detector = VoiceActivity()
    first = detector.probabilities(piece)
    piece[:] = 0  # the caller's buffer is its own again
    assert (before == speech[: 100 * WINDOW]).all()
    rest = detector.probabilities(speech[100 * WINDOW : 200 * WINDOW])
    whole = probabilities(speech[: 200 * WINDOW])
    assert np.concatenate([first, rest]) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_the_network_hears_what_silero_s_own_hears(
    speech: Samples, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = speech[: len(speech) // WINDOW * WINDOW] * np.float32(gain)
    found = probabilities(samples)
    original = Path(faster_whisper.__file__).with_name("assets") / "silero_vad_v6.onnx"
    session = onnxruntime.InferenceSession(str(original), providers=["CPUExecutionProvider"])
    monkeypatch.setattr(vad, "_session", lambda: session)
    assert found == pytest.approx(probabilities(samples), abs=1e-4)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0]), max_size=20), max_size=5),
    st.sampled_from([(0.5, 0.35), (0.35, 0.35), (0.9, 0.1)]),
)
def test_many_probabilities_at_once_decide_as_one_by_one(
    pieces: list[list[float]], levels: tuple[float, float]
) -> None:
    one_by_one, at_once = Hysteresis(*levels), Hysteresis(*levels)
    for piece in pieces:
        probabilities = np.array(piece, np.float32)
        found = at_once.each(probabilities).tolist()
        assert found == [one_by_one(probability) for probability in probabilities.tolist()]
