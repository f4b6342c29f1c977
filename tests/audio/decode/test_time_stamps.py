"""Time stamps with holes, jumps and late beginnings: words stay where they were said."""

from __future__ import annotations

import numpy as np
import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.audio.media import Form, decoded, encode, likeness, loudness

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
