"""Audio of clients becomes samples: of every format, and however it is split."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.realtime.audio_formats import (
    PCM_RATES,
    Decoder,
    Resampler,
    a_law_decoder,
    mu_law_decoder,
    pcm_decoder,
)
from reflector_gpu.types import SAMPLE_RATE, Samples

DECODERS = [*(lambda rate=rate: pcm_decoder(rate) for rate in PCM_RATES), mu_law_decoder]


def tone(hertz: float, rate: int, seconds: float = 1.0) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def levels(hertz: float, rate: int) -> tuple[int, float]:
    """The loudest frequency of a resampled tone, and its root mean square."""
    found = Resampler(rate, SAMPLE_RATE)(tone(hertz, rate, 2.0))[4000 : 4000 + SAMPLE_RATE]
    spectrum = np.abs(np.fft.rfft(found * np.hanning(len(found))))
    return int(spectrum.argmax()), float(found.std())


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
@pytest.mark.parametrize("hertz", [50, 440, 3_400])
def test_a_voice_keeps_its_pitch_and_loudness(hertz: int, rate: int) -> None:
    pitch, loudness = levels(hertz, rate)
    assert pitch == hertz
    assert loudness == pytest.approx(2**-0.5, abs=0.03)


@pytest.mark.parametrize("hertz", [8_500, 10_000, 11_900])
def test_what_is_too_high_for_our_rate_does_not_come_back_lower(hertz: int) -> None:
    assert levels(hertz, 24_000)[1] < 0.005


@given(
    decoder=st.sampled_from(DECODERS),
    cuts=st.lists(st.integers(0, 3_000), max_size=12).map(sorted),
)
def test_audio_may_be_split_anywhere(decoder: object, cuts: list[int]) -> None:
    assert callable(decoder)
    data = np.random.default_rng(1).integers(0, 256, 3_000).astype(np.uint8).tobytes()
    whole, split = decoder(), decoder()
    assert isinstance(whole, Decoder)
    parts = [split(data[a:b]) for a, b in itertools.pairwise([0, *cuts, len(data)])]
    expected = whole(data)
    found = np.concatenate(parts)
    assert len(found) == len(expected)
    assert np.allclose(found, expected, atol=1e-6)


def test_the_length_stays_the_same() -> None:
    for rate in PCM_RATES:
        found = len(pcm_decoder(rate)(bytes(2 * 10 * rate)))
        assert 10 * SAMPLE_RATE - 20 <= found <= 10 * SAMPLE_RATE


def test_g711_is_what_the_standard_says() -> None:
    # Values of ITU-T G.711, tables 1a and 2a, scaled to 16 bits.
    mu_law = {0x00: -32124, 0x7F: 0, 0x80: 32124, 0xFF: 0, 0x8F: 16764, 0xF0: 120, 0xAA: 5372}
    a_law = {0x55: -8, 0xD5: 8, 0x2A: -32256, 0xAA: 32256, 0x80: 5504, 0x00: -5504}
    for decoder, values in ((mu_law_decoder(), mu_law), (a_law_decoder(), a_law)):
        read = decoder._read(bytes(values))
        assert (read * 32768).tolist() == list(values.values())
