"""Silence before a recording, sample by sample: what the WebM holds, decoded again."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.media import flac
from reflector_gpu.audio.padding import RATE, WebmFile, pad
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import ShuttingDown, TooLarge, UndecodableAudio, UpstreamFailed
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.audio.media import Form, encode, loudness

OPUS = Form("webm", "libopus", RATE)
WAV = Form("wav", "pcm_s16le")


@dataclass(frozen=True)
class Webm:
    """``samples`` are ``float32[2, n]``; ``duration`` is what the header says."""

    samples: Samples
    duration: float | None
    codec: str
    rate: int
    layout: str
    begins: int | None

    @property
    def seconds(self) -> float:
        return float(self.samples.shape[1] / self.rate)

    def loudness(self, begin: float, end: float) -> float:
        return loudness(self.samples[:, int(begin * RATE) : int(end * RATE)])


def read(data: bytes) -> Webm:
    with av.open(io.BytesIO(data), "r") as container:
        assert container.format.name == "matroska,webm"
        (stream,) = container.streams
        assert isinstance(stream, AudioStream)
        frames = list(container.decode(stream))
        duration = container.duration / av.time_base if container.duration else None
        samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        codec, layout = stream.codec_context.name, stream.layout.name
        return Webm(samples, duration, codec, stream.rate, layout, frames[0].pts)


def padded(data: bytes, seconds: float, max_seconds: float = float("inf")) -> tuple[bytes, bytes]:
    """The file as it grew, and as it is in the end."""
    with Spool(10**9) as source, Spool(10**9) as output:
        source.write(data)
        source.finish()
        file = WebmFile(output)
        for _ in pad(source.reader(), file, seconds, max_seconds=max_seconds):
            pass
        grown = output.read_at(0, output.size)
        return grown, bytes(file.beginning) + grown[len(file.beginning) :]


def tone(seconds: float, level: float = 0.4) -> Samples:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def begins(webm: Webm, level: float = 0.05) -> float:
    """When the first sound is heard, on the channel that is later."""
    return max(int(np.flatnonzero(np.abs(channel) > level)[0]) for channel in webm.samples) / RATE


@pytest.mark.parametrize(
    "form",
    [
        OPUS,
        WAV,
        Form("ogg", "libopus", RATE, "stereo"),
        Form("mp3", "libmp3lame", 44_100, "stereo"),
        Form("mp4", "aac", 44_100, "5.1"),
        Form("mp4", "aac", 8_000),
        Form("flac", "flac", 96_000, "stereo"),
    ],
    ids=lambda form: f"{form.muxer}-{form.rate}-{form.layout}",
)
def test_any_recording_becomes_stereo_opus_behind_exact_silence(form: Form) -> None:
    for data in padded(encode(tone(2), form), 1.2345):
        webm = read(data)
        assert (webm.codec, webm.rate, webm.layout, webm.begins) == ("opus", RATE, "stereo", 0)
        assert np.abs(webm.samples[:, : int(1.23 * RATE)]).max() < 1e-4
        assert begins(webm) == pytest.approx(1.2345, abs=0.002)
        assert webm.seconds == pytest.approx(3.2345, abs=0.1)  # AAC and MP3 add a frame or two


def test_mono_is_as_loud_on_both_channels() -> None:
    webm = read(padded(encode(tone(2), WAV), 0.5)[0])
    for channel in webm.samples:
        assert loudness(channel[RATE:]) == pytest.approx(loudness(tone(1)), rel=0.02)


def test_the_complete_file_tells_how_long_it_is_and_the_growing_one_can_not() -> None:
    grown, complete = padded(encode(tone(1), WAV), 2.0)
    assert len(grown) == len(complete)
    assert read(grown).duration is None
    assert read(complete).duration == pytest.approx(3.0, abs=0.02)
    with av.open(io.BytesIO(complete), "r") as container:
        container.seek(2_500_000)
        assert next(container.decode(audio=0)).time == pytest.approx(2.5, abs=0.05)


@settings(max_examples=15)
@given(padding=st.integers(1, 12_000), length=st.integers(700, 6_000))
def test_not_a_sample_is_added_or_lost(padding: int, length: int) -> None:
    recording = encode(tone(1)[:length], WAV)
    webm = read(padded(recording, padding / RATE)[0])
    assert webm.samples.shape[1] == padding + length * (RATE // SAMPLE_RATE)


@pytest.mark.slow
def test_hours_of_silence_are_cheap_and_then_the_sound_comes() -> None:
    grown, _ = padded(encode(tone(0.5), WAV), 18_000.0)
    assert len(grown) < 12_000_000
    with av.open(io.BytesIO(grown), "r") as container:
        times = [packet.pts for packet in container.demux(audio=0) if packet.pts is not None]
    assert len(times) == pytest.approx(18_000.5 * 50, abs=3)
    assert times[-1] / 1000 == pytest.approx(18_000.5, abs=0.05)


@pytest.mark.parametrize("hole", [0.5, 20.0, 1_000.0])
@pytest.mark.slow
def test_holes_are_silence(hole: float) -> None:
    late: Callable[[float], float] = lambda at: at if at < 1 else at + hole  # noqa: E731
    webm = read(padded(encode(tone(2), OPUS, late), 1.0)[0])
    assert webm.seconds == pytest.approx(3 + hole, abs=0.05)
    assert webm.loudness(1.1, 1.9) > 0.2
    assert webm.loudness(2.1, 2 + hole - 0.1) < 0.001
    assert webm.loudness(2 + hole + 0.1, 2 + hole + 0.9) > 0.2


def test_a_track_that_begins_late_is_not_padded_twice() -> None:
    """Reflector pads by the track's own first time stamp."""
    track = encode(tone(1), OPUS, lambda at: at + 7.5)
    webm = read(padded(track, 7.5)[0])
    assert begins(webm) == pytest.approx(7.5, abs=0.03)
    assert webm.seconds == pytest.approx(8.5, abs=0.03)


@pytest.mark.parametrize("data", [b"", b"no audio at all", b"RIFF" + bytes(400)])
def test_what_is_no_audio_writes_nothing(data: bytes) -> None:
    with Spool(10**9) as source, Spool(10**9) as output:
        source.write(data)
        source.finish()
        with pytest.raises(UndecodableAudio):
            next(pad(source.reader(), WebmFile(output), 1.0))
        assert output.size == 0


def test_too_long_a_recording_is_refused_whatever_the_silence() -> None:
    recording = encode(tone(3), WAV)
    padded(recording, 10.0, max_seconds=3.1)
    with pytest.raises(TooLarge):
        padded(recording, 10.0, max_seconds=2.9)


def test_too_long_a_recording_is_measured_before_anything_is_encoded() -> None:
    with Spool(10**9) as source, Spool(10**9) as output:
        source.write(flac.constant(21_298))
        source.finish()
        passed = list[float]()
        file = WebmFile(output)
        with pytest.raises(TooLarge):
            next(pad(source.reader(), file, 10.0, max_seconds=1200, passed=passed.append))
        assert output.size == 0
        assert passed, "without news of what is measured, a decoder ends for want of time"


def test_the_rest_is_waited_for_if_so_few_bytes_hold_more_than_speech_can_take() -> None:
    with Spool(10**9) as source, Spool(10**9) as output:
        source.write(flac.constant(21_298)[:4_000])
        source.fail(UpstreamFailed("The rest does not come."))
        with pytest.raises(UpstreamFailed):
            next(pad(source.reader(), WebmFile(output), 10.0, max_seconds=1200))
        assert output.size == 0


def test_the_output_has_a_limit() -> None:
    with Spool(10**9) as source, Spool(20_000) as output:
        source.write(encode(tone(10), WAV))
        source.finish()
        with pytest.raises(TooLarge):
            list(pad(source.reader(), WebmFile(output), 1.0))


def test_a_dropped_output_ends_the_encoder() -> None:
    with Spool(10**9) as source, Spool(10**9) as output:
        source.write(encode(tone(30), WAV))
        source.finish()
        steps = pad(source.reader(), WebmFile(output), 1.0)
        next(steps)
        output.close()
        with pytest.raises(ShuttingDown):
            list(steps)


def test_it_can_be_left_in_the_middle() -> None:
    with Spool(10**9) as source, Spool(10**9) as output:
        source.write(encode(tone(5), WAV))
        source.finish()
        steps = pad(source.reader(), WebmFile(output), 1.0)
        next(steps)
        output.close()
        steps.close()  # type: ignore[attr-defined]  # it is a generator
