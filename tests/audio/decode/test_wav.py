"""Plain WAV files, which FFmpeg does not get to see, and all others, which it does."""

from __future__ import annotations

import struct
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.audio.decode import BLOCK_SAMPLES, decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.wav import PlainWav
from reflector_gpu.types import SAMPLE_RATE, Samples

Heard = tuple[list[Samples], list[float]]


def wav(pcm: bytes, *, rate: int = SAMPLE_RATE, channels: int = 1, claimed: int = -1) -> bytes:
    size = len(pcm) if claimed < 0 else claimed
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    head = b"RIFF" + struct.pack("<I", 36 + len(pcm)) + b"WAVEfmt " + form
    return head + b"data" + struct.pack("<I", size) + pcm


def sound(count: int) -> bytes:
    dice = np.random.default_rng(count)
    return dice.integers(-(2**15), 2**15, count, np.int16).astype("<i2").tobytes()


def spooled(data: bytes) -> Spool:
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return spool


def heard(data: bytes) -> Heard:
    """The blocks, and what was expected when."""
    expected: list[float] = []
    with spooled(data) as spool:
        return list(decode(spool.reader(), expect=expected.append)), expected


def is_plain(data: bytes) -> bool:
    with spooled(data) as spool:
        return PlainWav.of(spool.reader()) is not None


def heard_by_ffmpeg(data: bytes) -> Heard:
    """What comes of it where no WAV is plain."""
    with patch.object(PlainWav, "of", return_value=None):
        return heard(data)


@settings(max_examples=20)
@given(
    st.one_of(
        st.integers(1, 3 * SAMPLE_RATE),
        st.sampled_from([1, 2, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, BLOCK_SAMPLES + 1]),
        st.just(3 * BLOCK_SAMPLES),
    ),
    st.binary(max_size=50),
)
def test_the_same_to_the_bit_as_by_ffmpeg(count: int, behind: bytes) -> None:
    data = wav(sound(count), claimed=2 * count) + behind
    assert is_plain(data)
    (blocks, expected), (known, expected_by_ffmpeg) = heard(data), heard_by_ffmpeg(data)
    assert expected == pytest.approx(expected_by_ffmpeg, abs=1e-5)
    assert [len(block) for block in blocks] == [len(block) for block in known]
    for block, same in zip(blocks, known, strict=True):
        assert block.dtype == same.dtype
        assert block.tobytes() == same.tobytes()


UNUSUAL = {
    "another rate": wav(sound(8000), rate=8000),
    "stereo": wav(sound(8000), channels=2),
    "cut off": wav(sound(8000))[:-1000],
    "no length, as encoders that stream write it": wav(sound(8000), claimed=2**32 - 1),
    "half a sample": wav(sound(8000) + b"x"),
    "big-endian": wav(sound(8000)).replace(b"RIFF", b"RIFX"),
    "something before the samples": wav(sound(8000)).replace(b"data", b"LIST\2\0\0\0hidata"),
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_is_left_to_ffmpeg(data: bytes) -> None:
    assert not is_plain(data)


@pytest.mark.parametrize("size", [0, 1, 20, 43, 44])
def test_what_is_too_short_is_left_to_ffmpeg(size: int) -> None:
    assert not is_plain(wav(sound(8000))[:size])


def test_a_recording_that_still_arrives_is_left_to_ffmpeg() -> None:
    with Spool(limit=10**9) as spool:
        spool.write(wav(sound(8000)))
        assert PlainWav.of(spool.reader()) is None
