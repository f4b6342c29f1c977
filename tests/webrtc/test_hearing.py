"""A peer's audio as a stream without gaps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.types import SAMPLE_RATE
from reflector_gpu.webrtc.hearing import RATE, Hearing

FRAME = RATE // 50
HEARD = SAMPLE_RATE // 50


def tone(begin: int) -> npt.NDArray[np.int16]:
    """A frame of 440 Hz from the left, and nothing from the right."""
    left = np.sin(np.arange(begin, begin + FRAME) * 440 * 2 * np.pi / RATE)
    return np.stack([left * 20_000, np.zeros(FRAME)], axis=1).astype(np.int16).reshape(-1)


def test_both_sides_are_heard_at_once() -> None:
    hearing = Hearing()
    heard = np.concatenate([hearing.frame(tone(n * FRAME), n * FRAME) for n in range(50)])
    assert len(heard) == pytest.approx(SAMPLE_RATE, abs=HEARD)
    expected = 20_000 / 32_768 / 2 / np.sqrt(2)
    assert np.sqrt(np.mean(heard[HEARD:] ** 2)) == pytest.approx(expected, rel=0.01)


def test_a_lost_packet_is_silence() -> None:
    hearing = Hearing()
    hearing.frame(tone(0), 0)
    heard = hearing.frame(tone(3 * FRAME), 3 * FRAME)
    assert len(heard) == 3 * HEARD
    assert not heard[HEARD : 2 * HEARD - 20].any()


def test_what_was_filled_meanwhile_is_not_filled_again() -> None:
    hearing = Hearing()
    hearing.frame(tone(0), 0)
    assert len(hearing.silence(0.5)) == SAMPLE_RATE // 2
    later = FRAME + RATE * 6 // 10  # a tenth of a second more
    assert len(hearing.frame(tone(later), later)) == HEARD + SAMPLE_RATE // 10


def test_packets_that_were_only_late_follow_the_silence() -> None:
    hearing = Hearing()
    hearing.frame(tone(0), 0)
    hearing.silence(0.5)
    assert len(hearing.frame(tone(FRAME), FRAME)) == HEARD
    assert len(hearing.frame(tone(2 * FRAME), 2 * FRAME)) == HEARD


def test_nothing_is_heard_before_anything_was_said() -> None:
    hearing = Hearing()
    assert len(hearing.silence(5)) == 0
    assert len(hearing.frame(tone(0), 123_456)) == pytest.approx(HEARD, abs=20)


def test_silence_has_an_end() -> None:
    hearing = Hearing()
    hearing.frame(tone(0), 0)
    heard = sum(len(hearing.silence(0.5)) for _ in range(1000))
    assert heard == 30 * SAMPLE_RATE


@given(st.lists(st.integers(-(2**40), 2**40), max_size=20))
def test_clocks_that_leap_make_no_more_than_a_second_each(begins: list[int]) -> None:
    hearing = Hearing()
    heard = sum(len(hearing.frame(tone(0), begin)) for begin in begins)
    assert heard <= len(begins) * (HEARD + SAMPLE_RATE)
