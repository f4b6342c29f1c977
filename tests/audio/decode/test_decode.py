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
from tests.audio.media import Form, blocks, decoded, encode, likeness, loudness, streamed

FORMS = {
    "mp3 cbr": Form("mp3", "libmp3lame", 44_100, options={"b": "64000"}),
    "mp3 vbr": Form("mp3", "libmp3lame", 44_100, options={"q": "4"}),
    "mp3 without a LAME header": Form("mp3", "libmp3lame", 44_100, muxing={"write_xing": "0"}),
    "mp3 at 8 kHz": Form("mp3", "libmp3lame", 8_000),
    "mp3 at 16 kHz": Form("mp3", "libmp3lame", 16_000),
    "mp4 index last": Form("mp4", "aac", 44_100),
    "mp4 index first": Form("mp4", "aac", 44_100, muxing={"movflags": "faststart"}),
    "mp4 in fragments": Form("mp4", "aac", 44_100, muxing={"movflags": "empty_moov+frag_keyframe"}),
    "m4a": Form("ipod", "aac", 44_100, "stereo"),
    "m4a lossless": Form("ipod", "alac", 44_100),
    "m4a surround": Form("ipod", "aac", 48_000, "5.1"),
    "mov": Form("mov", "aac", 48_000, "stereo"),
    "mov pcm": Form("mov", "pcm_s16be", 22_050),
    "webm": Form("webm", "libopus", 48_000),
    "webm stereo": Form("webm", "libopus", 48_000, "stereo"),
    "ogg vorbis": Form("ogg", "vorbis", 44_100, "stereo", options={"strict": "-2"}),
    "ogg opus": Form("ogg", "libopus", 48_000),
    "ogg flac": Form("ogg", "flac", 16_000),
    "opus": Form("opus", "libopus", 48_000),
    "flac": Form("flac", "flac", 16_000),
    "flac surround at 96 kHz": Form("flac", "flac", 96_000, "5.1"),
    "aac": Form("adts", "aac", 44_100),
    "aac at 11 kHz": Form("adts", "aac", 11_025),
    "wav 16 bits": Form("wav", "pcm_s16le"),
    "wav float": Form("wav", "pcm_f32le"),
    "wav 24 bits": Form("wav", "pcm_s24le", 48_000, "stereo"),
    "wav 8 bits": Form("wav", "pcm_u8", 11_025),
    "wav A-law": Form("wav", "pcm_alaw", 8_000),
    "wav surround": Form("wav", "pcm_s16le", 44_100, "5.1"),
    "wav at 96 kHz": Form("wav", "pcm_s16le", 96_000),
    "au": Form("au", "pcm_s16be", 16_000),
    "wavpack": Form("wv", "wavpack", 44_100, "stereo"),
    "flv": Form("flv", "aac", 44_100),
    "ac3": Form("ac3", "ac3", 48_000, "stereo"),
    "eac3": Form("eac3", "eac3", 48_000, "stereo"),
    "mpga": Form("mp2", "mp2", 44_100),
    "mpeg": Form("mpeg", "mp2", 44_100),
    "mpeg transport stream": Form("mpegts", "aac", 44_100),
    "mp4 film": Form("mp4", "aac", 44_100, video="mpeg4"),
    "webm film": Form("webm", "libopus", 48_000, video="libvpx"),
    "mkv film": Form("matroska", "pcm_s16le", 16_000, video="mpeg4"),
}
INDEX_LAST = [name for name, form in FORMS.items() if form.muxer in ("ipod", "mov")]
INDEX_LAST += ["mp4 index last", "mp4 film"]
TOO_SHORT_TO_TELL = ["mpga", "mpeg transport stream"]  # a single frame, no sync to be sure of
NO_CLOCK = ["mp3 without a LAME header", "mp4 in fragments"]  # nothing tells the encoder's delay
NO_CLOCK += ["flv", "ac3", "eac3", "aac", "aac at 11 kHz", "mpga", "mpeg", "mpeg transport stream"]

Encoder = Callable[[str], bytes]


@pytest.fixture(scope="module")
def clip(speech: Samples) -> Samples:
    """Three seconds, with speech in them all."""
    return speech[SAMPLE_RATE : 4 * SAMPLE_RATE]


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


CLOCKED = {
    "mkv": Form("matroska", "pcm_s16le"),
    "webm": Form("webm", "libopus", 48_000),
    "mp4": Form("mp4", "aac", 44_100),
    "mpegts": Form("mpegts", "mp2", 44_100),
    "ogg": Form("ogg", "libopus", 48_000),
}


@pytest.mark.parametrize("name", CLOCKED)
def test_a_hole_in_the_time_stamps_is_silence(name: str, clip: Samples) -> None:
    paused = encode(clip, CLOCKED[name], lambda seconds: seconds if seconds < 1 else seconds + 2)
    found = decoded(paused)
    assert len(found) / SAMPLE_RATE == pytest.approx(5.0, abs=0.1)
    assert loudness(found[int(1.3 * SAMPLE_RATE) : int(2.7 * SAMPLE_RATE)]) < 1e-3
    after = found[int(3.5 * SAMPLE_RATE) :]
    lag, alike = likeness(after, clip[int(1.5 * SAMPLE_RATE) :])
    assert abs(lag) < 0.05
    assert alike > 0.9


@pytest.mark.parametrize("name", ["mkv", "webm", "mp4", "ogg"])
def test_eleven_minutes_of_nothing_are_silence_too(name: str, clip: Samples) -> None:
    """Somebody mutes himself: what he says later is not to move up to before that."""
    muted = encode(clip, CLOCKED[name], lambda seconds: seconds if seconds < 1 else seconds + 660)
    found = decoded(muted)
    assert len(found) / SAMPLE_RATE == pytest.approx(663, abs=0.2)
    lag, alike = likeness(found[661 * SAMPLE_RATE :], clip[SAMPLE_RATE:])
    assert abs(lag) < 0.1
    assert alike > 0.9


def test_sound_that_begins_eleven_minutes_late(clip: Samples) -> None:
    form = Form("matroska", "mp2", 44_100, video="mpeg4")
    late = decoded(encode(clip, form, lambda seconds: seconds + 660.0))
    lag, _ = likeness(late[660 * SAMPLE_RATE :], clip)
    assert abs(lag) < 0.05


DAMAGED = {
    "ogg opus": Form("ogg", "libopus", 48_000, options={"b": "96000"}),
    "ogg flac": Form("ogg", "flac", 16_000),
    "webm": Form("webm", "libopus", 48_000, options={"b": "96000"}),
    "mkv": Form("matroska", "pcm_s16le"),
    "mp4": Form("mp4", "aac", 44_100, options={"b": "96000"}),
    "flv": Form("flv", "aac", 44_100, options={"b": "96000"}),
    "mpegts": Form("mpegts", "mp2", 44_100),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_comes_after_64_kb_of_damage_is_heard_where_it_was_said(
    name: str, speech: Samples
) -> None:
    speech = speech[: 30 * SAMPLE_RATE]
    data = bytearray(encode(speech, DAMAGED[name]))
    middle = len(data) // 2
    noise = np.random.default_rng(0).integers(0, 256, 65_536, np.uint8).tobytes()
    data[middle : middle + len(noise)] = noise
    found = decoded(bytes(data))
    assert len(found) / SAMPLE_RATE == pytest.approx(len(speech) / SAMPLE_RATE, abs=1)
    last = slice(len(speech) - 8 * SAMPLE_RATE, len(speech) - SAMPLE_RATE)
    lag, alike = likeness(found[last], speech[last])
    assert abs(lag) < 0.1
    assert alike > 0.9


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


@pytest.mark.parametrize("name", ["mkv", "webm", "mp4", "mpegts"])
def test_many_small_holes_add_up(name: str, clip: Samples) -> None:
    """A tenth of a second lost every fifth of a second: words at the end stay where they are."""
    torn = encode(clip, CLOCKED[name], lambda seconds: seconds + 0.1 * int(seconds / 0.2))
    assert len(decoded(torn)) / SAMPLE_RATE == pytest.approx(4.4, abs=0.3)


@pytest.mark.parametrize("jump", [5_000.0, -20.0])
def test_a_broken_clock_is_not_silence(jump: float, clip: Samples) -> None:
    """Two transport streams one after the other, as recorders and ``cat`` make them."""
    form = Form("mpegts", "mp2", 44_100)
    first = encode(clip, form, lambda seconds: 30 + seconds)
    second = encode(clip, form, lambda seconds: 33 + jump + seconds)
    assert len(decoded(first + second)) / SAMPLE_RATE == pytest.approx(6.0, abs=0.2)


@pytest.mark.parametrize("muxer", ["mp4", "matroska", "mpegts"])
def test_sound_that_begins_after_the_picture(muxer: str, clip: Samples) -> None:
    """Subtitles are shown over the picture, so times count from where that begins."""
    form = Form(muxer, "mp2", 44_100, video="mpeg4")
    late = decoded(encode(clip, form, lambda seconds: seconds + 2.0))
    lag, _ = likeness(late, clip)
    assert lag == pytest.approx(2.0, abs=0.05)


def test_a_recording_that_starts_at_any_time_begins_at_zero(clip: Samples) -> None:
    late = decoded(encode(clip, Form("matroska", "pcm_s16le"), lambda seconds: seconds + 100.0))
    assert len(late) == len(clip)


@pytest.mark.parametrize(("muxer", "codec"), [("adts", "aac"), ("mp3", "libmp3lame")])
def test_the_sample_rate_may_change_midway(muxer: str, codec: str, clip: Samples) -> None:
    low, high = Form(muxer, codec, 22_050), Form(muxer, codec, 44_100, "stereo")
    found = decoded(encode(clip, low) + encode(clip, high))
    assert len(found) / SAMPLE_RATE == pytest.approx(6.0, abs=0.4)
    for half in (found[: 3 * SAMPLE_RATE], found[3 * SAMPLE_RATE :]):
        assert loudness(half) == pytest.approx(loudness(clip), rel=0.2)


def wav(pcm: bytes, *, channels: int = 1, rate: int = SAMPLE_RATE, claimed: int = -1) -> bytes:
    """A 16-bit WAV by hand; ``claimed`` is the size in its header."""
    size = len(pcm) if claimed < 0 else claimed
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(2**32 - 1, len(head) + size)) + head + pcm


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
