"""What is told of files that are damaged or truncated, and that nothing is told of sound ones."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.audio.decode import _joined, decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.types import SAMPLE_RATE, Condition, Samples, Track, Truncation
from tests.audio.decode.forms import FORMS, INDEX_LAST, wav
from tests.audio.media import Form, encode

UNTOLD = ["ac3", "eac3", "mpeg", "aac", "aac at 11 kHz", "mpga"]
"""Nothing shows where they are cut between two packets, or FFmpeg gives no part of one."""

LIVE = {
    "webm": ("libopus", 48_000),
    "matroska": ("pcm_s16le", 16_000),
    "wav": ("pcm_s16le", 16_000),
    "flac": ("flac", 16_000),
    "mp3": ("libmp3lame", 44_100),
    "wv": ("wavpack", 44_100),
    "au": ("pcm_s16be", 16_000),
    "caf": ("pcm_s16be", 16_000),
    "ogg": ("libopus", 48_000),
    "flv": ("aac", 44_100),
    "adts": ("aac", 44_100),
    "mpegts": ("mp2", 44_100),
    "avi": ("libmp3lame", 44_100),
}
CUT_LIVE = ["webm", "flac", "ogg", "mpegts", "mp3"]

Encoder = Callable[[str], bytes]

SECONDS = 6
"""How long the recordings are."""


class Pipe(io.RawIOBase):
    """Where a recorder writes that cannot go back to the beginning."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # a plane is a buffer
        self.data += piece
        return len(piece)


@pytest.fixture(scope="module")
def clip(speech: Samples) -> Samples:
    return speech[: SECONDS * SAMPLE_RATE]


@pytest.fixture(scope="module")
def encoded(clip: Samples) -> Encoder:
    return functools.cache(lambda name: encode(clip, FORMS[name]))


@pytest.fixture(scope="module")
def live(clip: Samples) -> Encoder:
    return functools.cache(lambda name: _live(clip, name))


def _live(samples: Samples, muxer: str) -> bytes:
    codec, rate = LIVE[muxer]
    pipe = Pipe()
    with av.open(pipe, "w", muxer) as container:
        stream = container.add_stream(codec, rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.open(strict=False)
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate = SAMPLE_RATE
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.format, "mono", rate, size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return bytes(pipe.data)


def noticed(data: bytes, *, arriving: bool = False) -> tuple[float, Condition]:
    """The seconds that come out of a file, and what is told of it."""
    found: list[Condition] = []
    with Spool(limit=10**9) as spool:
        reader = spool.reader() if arriving else None
        spool.write(data)
        spool.finish()
        blocks = decode(reader or spool.reader(), notice=found.append)
        return sum(map(len, blocks)) / SAMPLE_RATE, found[-1]


@pytest.mark.parametrize("arriving", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_a_whole_file_has_nothing_to_tell(name: str, arriving: bool, encoded: Encoder) -> None:
    assert noticed(encoded(name), arriving=arriving)[1] == Condition()


@pytest.mark.parametrize("arriving", [False, True])
@pytest.mark.parametrize("muxer", LIVE)
def test_a_live_recording_has_nothing_to_tell(muxer: str, arriving: bool, live: Encoder) -> None:
    """Its head tells no length, or a length that stands for none."""
    seconds, condition = noticed(live(muxer), arriving=arriving)
    assert seconds == pytest.approx(SECONDS, abs=0.2)
    assert condition == Condition()


@pytest.mark.parametrize("claimed", [0, 2**31 - 1, 0x7FFFF000, 2**32 - 37, 2**32 - 1])
def test_a_wav_from_a_pipe_has_nothing_to_tell(claimed: int, clip: Samples) -> None:
    pcm = np.round(clip * 32767).astype("<i2").tobytes()
    assert noticed(wav(pcm, claimed=claimed))[1] == Condition()


@pytest.mark.parametrize("arriving", [False, True])
@pytest.mark.parametrize("name", [n for n in FORMS if n not in (*INDEX_LAST, *UNTOLD)])
def test_a_file_that_is_cut_at_half_is_truncated(
    name: str, arriving: bool, encoded: Encoder
) -> None:
    data = encoded(name)
    seconds, condition = noticed(data[: len(data) // 2 - 1], arriving=arriving)
    cut = condition.truncated
    assert cut is not None
    assert cut.decoded == pytest.approx(seconds, abs=0.1)
    assert cut.expected is None or cut.expected == pytest.approx(SECONDS, abs=0.3)
    assert condition.damaged == () or name.startswith("mpeg")


@pytest.mark.parametrize("name", ["wav 16 bits", "flac", "mp3 cbr", "webm", "mp4 index first"])
@given(share=st.floats(0.1, 0.93))  # behind that, less is missing than encoders pad
@settings(max_examples=10, deadline=None)
def test_wherever_it_is_cut(name: str, encoded: Encoder, share: float) -> None:
    data = encoded(name)
    seconds, condition = noticed(data[: round(share * len(data))])
    assert condition.truncated is not None
    assert condition.truncated.expected == pytest.approx(SECONDS, abs=0.3)
    assert seconds < SECONDS - 0.1


@pytest.mark.parametrize("muxer", CUT_LIVE)
def test_a_live_recording_that_is_cut_inside_a_packet(muxer: str, live: Encoder) -> None:
    data = live(muxer)
    condition = noticed(data[: len(data) // 2 - 7])[1]
    assert condition.truncated is not None
    assert condition.truncated.expected is None


def test_a_wav_whose_samples_are_longer_than_the_file(clip: Samples) -> None:
    pcm = np.round(clip * 32767).astype("<i2").tobytes()
    cut = noticed(wav(pcm, claimed=3 * len(pcm)))[1].truncated
    assert cut is not None
    assert cut.expected == pytest.approx(3 * SECONDS)
    assert cut.decoded == pytest.approx(SECONDS)


DAMAGED = {
    "ogg opus": Form("ogg", "libopus", 48_000, options={"b": "96000"}),
    "ogg flac": Form("ogg", "flac", 16_000),
    "mp3": Form("mp3", "libmp3lame", 44_100, options={"b": "64000"}),
    "flac": Form("flac", "flac", 16_000),
    "wavpack": Form("wv", "wavpack", 44_100),
    "webm": Form("webm", "libopus", 48_000, options={"b": "96000"}),
    "mkv film": Form("matroska", "mp2", 44_100, video="mpeg4"),
    "mp4": Form("mp4", "aac", 44_100, options={"b": "96000"}),
    "flv": Form("flv", "aac", 44_100, options={"b": "96000"}),
    "mpegts": Form("mpegts", "mp2", 44_100),
    "mpeg": Form("mpeg", "mp2", 44_100),
    "ac3": Form("ac3", "ac3", 48_000),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_where_64_kb_are_overwritten_the_file_is_damaged(name: str, speech: Samples) -> None:
    speech = speech[: 30 * SAMPLE_RATE]
    data = bytearray(encode(speech, DAMAGED[name]))
    middle = len(data) // 2
    noise = np.random.default_rng(0).integers(0, 256, 65_536, np.uint8).tobytes()
    data[middle : middle + len(noise)] = noise
    seconds, condition = noticed(bytes(data))
    whole = len(speech) / SAMPLE_RATE
    assert seconds == pytest.approx(whole, abs=1), "what comes later stays where it was"
    assert condition.truncated is None
    begin, end = condition.damaged[0][0], condition.damaged[-1][1]
    assert 0.35 * whole < begin < end < 0.95 * whole
    assert end - begin > 0.3 * whole * len(noise) / len(data)


def test_what_is_wrong_with_one_of_several_joined_wav_files_is_told(clip: Samples) -> None:
    whole = encode(clip, FORMS["wav 24 bits"])
    cut = encode(clip, FORMS["wav A-law"])[:-8_000]
    assert noticed(whole + whole)[1] == Condition()
    for last, expected in ((cut, 2 * SECONDS), (whole[:12], None)):
        truncated = noticed(whole + last)[1].truncated
        assert truncated is not None
        assert truncated.decoded == pytest.approx(2 * SECONDS - 1 if expected else SECONDS, abs=0.1)
        assert truncated.expected == (expected and pytest.approx(expected, abs=0.1))


def test_damage_in_joined_parts_counts_from_the_start_of_the_first() -> None:
    first = Condition(((1.0, 2.0),), taken=Track(0))
    second = Condition(((0.5, 1.0),), Truncation(3.0, 4.0))
    joined = _joined(first, second, 10.0)
    assert joined == Condition(((1.0, 2.0), (10.5, 11.0)), Truncation(13.0, 14.0), Track(0))
