"""One channel of a recording by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np
import pytest

from reflector_gpu.audio.channels import Layout, layout_of
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.tracks import ANY_TRACK, TrackWish
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.audio.media import Heard, with_tracks

FORMS = [
    ("wav", "pcm_s16le", "s16", "stereo", SAMPLE_RATE),
    ("wav", "pcm_s16le", "s16", "stereo", 44_100),
    ("wav", "pcm_u8", "u8", "stereo", 8_000),
    ("wav", "pcm_f32le", "flt", "4.0", SAMPLE_RATE),
    ("wav", "pcm_f64le", "dbl", "stereo", SAMPLE_RATE),
    ("wav", "pcm_mulaw", "s16", "stereo", 8_000),
    ("flac", "flac", "s16", "stereo", 48_000),
    ("ogg", "libopus", "flt", "stereo", 48_000),
    ("mp3", "libmp3lame", "fltp", "stereo", 44_100),
    ("mp4", "aac", "fltp", "5.1", 48_000),
]


def tone(number: int, rate: int) -> Samples:
    """A second of a sound that only channel ``number`` has."""
    return (0.3 * np.sin(2 * np.pi * 300 * (number + 1) * np.arange(rate) / rate)).astype(
        np.float32
    )


def pitch(samples: Samples) -> float:
    """The frequency that is loudest, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def file_of(muxer: str, codec: str, kind: str, layout: str, rate: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "recording"))
        with av.open(path, "w", muxer) as container:
            stream = container.add_stream(codec, rate)
            assert isinstance(stream, av.AudioStream)
            stream.layout, stream.format = layout, kind
            count = stream.layout.nb_channels
            planes = np.stack([tone(number, rate) for number in range(count)])
            frame = av.AudioFrame.from_ndarray(planes, "fltp", layout)
            frame.sample_rate = rate
            stream.codec_context.open()
            size = stream.codec_context.frame_size or None
            resampler = av.AudioResampler(stream.format, layout, rate, size)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
        return Path(path).read_bytes()


def spooled(data: bytes) -> Spool:
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return spool


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form[1]}-{form[3]}-{form[4]}")
def test_each_channel_is_heard_alone(form: tuple[str, str, str, str, int]) -> None:
    with spooled(file_of(*form)) as spool:
        found = layout_of(spool.reader(), ANY_TRACK)
        assert found == Layout(1, {"stereo": 2, "4.0": 4, "5.1": 6}[form[3]])
        for number in range(found.channels):
            if form[3] == "5.1" and number == 3:
                continue  # what is for the subwoofer alone has no sound of this pitch
            wish = TrackWish(channel=number)
            samples = np.concatenate(list(decode(spool.reader(), track=wish)))
            assert len(samples) == pytest.approx(SAMPLE_RATE, rel=0.1)
            assert pitch(samples) == pytest.approx(300 * (number + 1), abs=5)


def test_a_channel_that_a_file_does_not_have_is_silent() -> None:
    with spooled(file_of(*FORMS[0])) as spool:
        samples = np.concatenate(list(decode(spool.reader(), track=TrackWish(channel=2))))
    assert len(samples) == pytest.approx(SAMPLE_RATE, rel=0.01)
    assert not samples.any()


def test_the_tracks_of_a_file_are_counted_unless_one_is_named(speech: Samples) -> None:
    tracks = [Heard(speech[:SAMPLE_RATE], code) for code in ("eng", "ger", "fra")]
    with spooled(with_tracks("matroska", "libopus", *tracks)) as spool:
        assert layout_of(spool.reader(), ANY_TRACK) == Layout(3, 1)
        assert layout_of(spool.reader(), TrackWish("1")) == Layout(1, 1)
