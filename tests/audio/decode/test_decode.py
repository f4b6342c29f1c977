"""Every container and sample format that clients send, decoded and compared with the original."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest

from reflector_gpu.audio import decode as decode_module
from reflector_gpu.audio.decode import BLOCK_SAMPLES, decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import TooLarge, UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.audio.decode.forms import FORMS, INDEX_LAST, wav
from tests.audio.media import Form, blocks, decoded, encode, likeness, loudness, streamed

TOO_SHORT_TO_TELL = ["mpga", "mpeg transport stream"]  # a single frame, no sync to be sure of

NO_CLOCK = ["mp3 without a LAME header", "mp4 in fragments"]  # nothing tells the encoder's delay

NO_CLOCK += ["flv", "ac3", "eac3", "aac", "aac at 11 kHz", "mpga", "mpeg", "mpeg transport stream"]

Encoder = Callable[[str], bytes]


@pytest.fixture(scope="module")
def encoded(clip: Samples) -> Encoder:
    """The clip in a form, by name."""
    return functools.cache(lambda name: encode(clip, FORMS[name]))


@pytest.mark.parametrize("read", [decoded, streamed])
@pytest.mark.parametrize("name", FORMS)
def test_what_was_encoded_comes_back(
    name: str, read: Callable[[bytes], Samples], encoded: Encoder, clip: Samples
) -> None:
    found = read(encoded(name))
    assert found.dtype == np.float32
    assert found.ndim == 1
    assert len(found) / SAMPLE_RATE == pytest.approx(3.0, abs=0.2)
    lag, alike = likeness(found, clip)
    assert lag == pytest.approx(0.0, abs=0.13 if name in NO_CLOCK else 0.002)
    assert alike > 0.98
    assert loudness(found) == pytest.approx(loudness(clip), rel=0.15)


@pytest.mark.parametrize("name", [name for name in FORMS if name not in TOO_SHORT_TO_TELL])
def test_ten_milliseconds(name: str, clip: Samples) -> None:
    found = decoded(encode(clip[: SAMPLE_RATE // 100], FORMS[name]))
    assert 0 < len(found) <= 0.2 * SAMPLE_RATE


@pytest.mark.parametrize("read", [decoded, streamed])
@pytest.mark.parametrize("name", [name for name in FORMS if name not in INDEX_LAST])
def test_truncated_file_gives_what_it_holds(
    name: str, read: Callable[[bytes], Samples], encoded: Encoder, clip: Samples
) -> None:
    data = encoded(name)
    found = read(data[: round(0.7 * len(data))])
    assert 0.7 < len(found) / SAMPLE_RATE < 2.6
    _, alike = likeness(found, clip[: len(found)])
    assert alike > 0.95


@pytest.mark.parametrize("read", [decoded, streamed])
@pytest.mark.parametrize("name", INDEX_LAST)
def test_truncated_file_without_its_index_is_refused(
    name: str, read: Callable[[bytes], Samples], encoded: Encoder
) -> None:
    data = encoded(name)
    with pytest.raises(UndecodableAudio, match="incomplete"):
        read(data[: round(0.7 * len(data))])


def test_damaged_packets_are_skipped(encoded: Encoder, clip: Samples) -> None:
    data = bytearray(encoded("ogg opus"))
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    found = decoded(bytes(data))
    # Ogg drops the pages that are hit; their time stays, so what follows is where it was.
    assert len(found) / SAMPLE_RATE == pytest.approx(3.0, abs=0.3)
    lag, _ = likeness(found[-SAMPLE_RATE // 2 :], clip[-SAMPLE_RATE // 2 :])
    assert abs(lag) < 0.3


def test_mp3_with_cover_art(encoded: Encoder, clip: Samples) -> None:
    picture = _picture("png", "rgb24", 400)
    frame = b"\0image/png\0\x03\0" + picture
    apic = b"APIC" + struct.pack(">I", len(frame)) + b"\0\0" + frame
    size = bytes(len(apic) >> shift & 0x7F for shift in (21, 14, 7, 0))
    found = decoded(b"ID3\x03\0\0" + size + apic + encoded("mp3 cbr"))
    lag, alike = likeness(found, clip)
    assert abs(lag) < 0.002
    assert alike > 0.98


def test_quicktime_without_a_file_type(encoded: Encoder, clip: Samples) -> None:
    """Before ISO adopted it, QuickTime began with anything and put the index at the end."""
    data = encoded("mov pcm").replace(b"ftyp", b"free", 1)
    for read in (decoded, streamed):
        assert len(read(data)) == pytest.approx(len(clip), abs=160)


@pytest.mark.parametrize("name", ["m4a", "mp3 at 16 kHz", "flac"])
def test_blocks_are_bounded_and_all_but_the_last_are_full(name: str, encoded: Encoder) -> None:
    *first, last = blocks(encoded(name))
    assert {len(block) for block in first} == {BLOCK_SAMPLES}
    assert 0 < len(last) <= BLOCK_SAMPLES


def test_samples_are_finite_and_within_one() -> None:
    wild = np.array([np.inf, -np.inf, 7.0, -7.0, 0.5, np.nan] * 200, np.float32)
    found = decoded(encode(wild, Form("wav", "pcm_f32le")))
    assert found.reshape(-1, 6)[:, :5] == pytest.approx(np.array([[1, -1, 1, -1, 0.5]] * 200))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize(("left", "right"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.1)])
def test_stereo_is_the_mean_of_both_sides(left: float, right: float) -> None:
    """Also where both are as loud as can be: their sum would clip."""
    tone = np.sin(np.arange(SAMPLE_RATE) / 10)
    frames = np.stack([left * tone, right * tone], axis=1)
    pcm = np.round(frames * 32767).astype("<i2").tobytes()
    found = decoded(wav(pcm, channels=2))
    assert found == pytest.approx(tone * (left + right) / 2, abs=1e-3)


@pytest.mark.parametrize("seconds", [2.0, 2.999])
def test_longer_than_allowed(seconds: float, encoded: Encoder) -> None:
    with pytest.raises(TooLarge, match="longer than this server's limit"):
        blocks(encoded("wav 16 bits"), max_seconds=seconds)


def test_exactly_as_long_as_allowed(encoded: Encoder, clip: Samples) -> None:
    assert len(decoded(encoded("wav 16 bits"), max_seconds=3.0)) == len(clip)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s32le", "pcm_f32le", "flac"])
def test_sides_that_cancel_each_other_out_are_heard(codec: str, clip: Samples) -> None:
    found = decoded(_stereo(clip, -clip, codec))
    lag, alike = likeness(found, clip)
    assert abs(lag) < 0.01
    assert abs(alike) > 0.98
    assert loudness(found) == pytest.approx(loudness(clip), rel=0.1)


def test_two_who_have_a_side_each_are_both_heard(clip: Samples, speech: Samples) -> None:
    other = speech[5 * SAMPLE_RATE : 8 * SAMPLE_RATE]
    found = decoded(_stereo(clip, other, "pcm_s16le"))
    assert likeness(found, np.mean([clip, other], axis=0, dtype=np.float32))[1] > 0.98


def _stereo(left: Samples, right: Samples, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", "flac" if codec == "flac" else "wav") as container:
        stream = container.add_stream(codec, SAMPLE_RATE, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.stack([left, right]), "fltp", "stereo")
        frame.sample_rate = SAMPLE_RATE
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.format, "stereo", SAMPLE_RATE, size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("read", [decoded, streamed])
@pytest.mark.parametrize("second", [FORMS["wav 16 bits"], FORMS["wav 24 bits"], FORMS["wav A-law"]])
def test_two_wav_files_joined_into_one_are_both_heard(
    second: Form, read: Callable[[bytes], Samples], clip: Samples
) -> None:
    found = read(encode(clip, FORMS["wav 16 bits"]) + encode(clip, second))
    assert len(found) / SAMPLE_RATE == pytest.approx(6.0, abs=0.1)
    assert likeness(found[len(clip) :], clip)[1] > 0.98


def test_bytes_after_a_wav_file_do_no_harm(clip: Samples) -> None:
    whole = encode(clip, FORMS["wav 16 bits"])
    for rest in (b"ID3 and the like", b"RIFF", whole[:20], whole[:30] + b"\xff" * 100):
        assert len(decoded(whole + rest)) == len(clip)


@pytest.mark.parametrize(("muxer", "codec"), [("adts", "aac"), ("mp3", "libmp3lame")])
def test_the_sample_rate_may_change_midway(muxer: str, codec: str, clip: Samples) -> None:
    low, high = Form(muxer, codec, 22_050), Form(muxer, codec, 44_100, "stereo")
    found = decoded(encode(clip, low) + encode(clip, high))
    assert len(found) / SAMPLE_RATE == pytest.approx(6.0, abs=0.4)
    for half in (found[: 3 * SAMPLE_RATE], found[3 * SAMPLE_RATE :]):
        assert loudness(half) == pytest.approx(loudness(clip), rel=0.2)


@pytest.mark.parametrize("claimed", [0, 2**32 - 1])
def test_wav_header_written_before_the_length_was_known(claimed: int, clip: Samples) -> None:
    """Live recorders write 0 or the largest number."""
    pcm = np.round(clip * 32767).astype("<i2").tobytes()
    for read in (decoded, streamed):
        assert len(read(wav(pcm, claimed=claimed))) == len(clip)


def _picture(codec: str, pixels: str, size: int) -> bytes:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width = context.height = size
    context.pix_fmt = pixels
    context.framerate = Fraction(1)
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise).reformat(format=pixels)
    return b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])


NO_AUDIO: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"R",
    "zeros": lambda: bytes(100_000),
    "noise": lambda: np.random.default_rng(0).bytes(200_000),
    "text": lambda: b"Good morning, this is not a recording.\n" * 500,
    "html": lambda: b"<!doctype html><html><body>404 Not Found</body></html>",
    "json": lambda: b'{"error": "AccessDenied"}',
    "zip": lambda: b"PK\x03\x04" + bytes(5_000),
    "png": lambda: _picture("png", "rgb24", 64),
    "jpeg": lambda: _picture("mjpeg", "yuvj420p", 64),
    "wav without samples": lambda: wav(b""),
    "ID3 tag alone": lambda: b"ID3\x03\0\0\0\0\x07\x76" + bytes(1_014),
    "film without sound": lambda: _silent_film("mp4"),
    "webm without sound": lambda: _silent_film("matroska"),
    "subtitles": lambda: b"1\n00:00:01,000 --> 00:00:02,000\nHello\n\n" * 20,
}


def _silent_film(muxer: str) -> bytes:
    form = Form(muxer, "pcm_s16le" if muxer == "matroska" else "aac", 44_100, video="mpeg4")
    return encode(np.zeros(SAMPLE_RATE, np.float32), form, sound=False)


@pytest.mark.parametrize("read", [decoded, streamed])
@pytest.mark.parametrize("name", NO_AUDIO)
def test_what_is_no_audio_is_refused(name: str, read: Callable[[bytes], Samples]) -> None:
    with pytest.raises(UndecodableAudio) as refusal:
        read(NO_AUDIO[name]())
    assert refusal.value.param == "file"


@pytest.mark.parametrize("name", FORMS)
def test_the_length_that_the_header_claims_is_told(name: str, encoded: Encoder) -> None:
    told: list[float] = []
    with Spool(limit=10**9) as spool:
        spool.write(encoded(name))
        spool.finish()
        found = sum(len(block) for block in decode(spool.reader(), expect=told.append))
    assert told == [pytest.approx(found / SAMPLE_RATE, abs=0.3), found / SAMPLE_RATE]


def test_a_header_that_claims_more_than_its_bytes_can_hold_is_not_believed(
    encoded: Encoder,
) -> None:
    flac = bytearray(encoded("flac"))
    flac[21] |= 0x0F  # the number of samples, 36 bits of STREAMINFO (RFC 9639, 8.2)
    flac[22:26] = b"\xff" * 4
    told: list[float] = []
    with Spool(limit=10**9) as spool:
        spool.write(bytes(flac))
        spool.finish()
        list(decode(spool.reader(), max_seconds=3600, expect=told.append))
    assert told[0] <= len(flac) / 250
    assert told[-1] < 4


@pytest.mark.parametrize(
    ("kind", "codec"), [("flac", "flac"), ("aiff", "pcm_s16be"), ("wav", "pcm_f32le")]
)
def test_what_is_as_wanted_is_not_resampled(
    kind: str, codec: str, clip: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AIFF does not say that its one channel is mono."""
    data = encode(clip, Form(kind, codec, SAMPLE_RATE))
    monkeypatch.delattr(decode_module, "AudioResampler")
    assert np.abs(decoded(data) - clip).max() < 2 / 2**15


def test_many_tiny_frames_are_gathered_a_few_at_a_time(
    clip: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes memory besides its samples."""
    data = encode(clip, Form("matroska", "pcm_s16le", SAMPLE_RATE))
    monkeypatch.setattr(decode_module, "_MOST_FRAMES", 1)
    found = blocks(data)
    assert len(found) > len(clip) / BLOCK_SAMPLES + 1
    assert np.abs(np.concatenate(found) - clip).max() < 2 / 2**15
