"""Recordings in any container, made on the spot, and how like the original a decoded one is."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Disposition

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.fetch import FetchLimits
from reflector_gpu.audio.spool import Spool
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Samples


@dataclass(frozen=True)
class Form:
    """How to encode: PyAV's muxer and codec, and what each of them is told."""

    muxer: str
    codec: str
    rate: int = SAMPLE_RATE
    layout: str = "mono"
    options: Mapping[str, str] = field(default_factory=dict)
    muxing: Mapping[str, str] = field(default_factory=dict)
    video: str | None = None


def encode(
    samples: Samples,
    form: Form,
    stamp: Callable[[float], float] = lambda seconds: seconds,
    *,
    sound: bool = True,
) -> bytes:
    """``samples`` as a file; ``stamp`` tells the time stamp of what is so many seconds in."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording")
        with av.open(str(path), "w", form.muxer, options=dict(form.muxing)) as container:
            track = _track(container, form) if sound else None
            if form.video:
                _film(container, form.video, len(samples) / SAMPLE_RATE)
            if track is not None:
                _fill(container, track, samples, stamp)
        return path.read_bytes()


def _track(container: OutputContainer, form: Form) -> av.AudioStream:
    stream = container.add_stream(form.codec, form.rate, options=dict(form.options))
    assert isinstance(stream, av.AudioStream)
    stream.layout = form.layout
    stream.codec_context.open(strict=False)
    return stream


def _fill(
    container: OutputContainer,
    stream: av.AudioStream,
    samples: Samples,
    stamp: Callable[[float], float],
) -> None:
    rate = stream.rate
    sides = np.repeat(samples[None], stream.layout.nb_channels, axis=0)
    frame = av.AudioFrame.from_ndarray(sides, "fltp", stream.layout.name)
    frame.sample_rate = SAMPLE_RATE
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.format, stream.layout, rate, size)
    position = 0
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        piece.pts = round(stamp(position / rate) * rate)
        piece.time_base = Fraction(1, rate)
        position += piece.samples
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def _film(container: OutputContainer, codec: str, seconds: float) -> None:
    """A dark picture, five times a second, for as long as the sound."""
    stream = container.add_stream(codec, 5)
    assert isinstance(stream, av.VideoStream)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    for number in range(max(1, round(5 * seconds))):
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        picture.pts = number
        picture.time_base = Fraction(1, 5)
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def blocks(data: bytes, max_seconds: float = float("inf")) -> list[Samples]:
    """What `decode` yields for a file that is all there."""
    with Spool(limit=10**9) as spool:
        spool.write(data)
        spool.finish()
        return list(decode(spool.reader(), max_seconds=max_seconds))


def decoded(data: bytes, max_seconds: float = float("inf")) -> Samples:
    return np.concatenate(blocks(data, max_seconds))


def streamed(data: bytes, max_seconds: float = float("inf")) -> Samples:
    """As `decoded`, but the reader may not seek: the file still arrived when it was opened."""
    with Spool(limit=10**9) as spool:
        reader = spool.reader()
        spool.write(data)
        spool.finish()
        return np.concatenate(list(decode(reader, max_seconds=max_seconds)))


def likeness(found: Samples, original: Samples) -> tuple[float, float]:
    """The seconds by which ``found`` lags behind, and how well it then correlates, up to 1."""
    size = 1 << (len(found) + len(original)).bit_length()
    a = np.fft.rfft(found.astype(np.float64), size)
    b = np.fft.rfft(original.astype(np.float64), size)
    correlation = np.fft.irfft(a * np.conj(b), size)
    lag = int(correlation.argmax())
    norm = float(np.linalg.norm(found) * np.linalg.norm(original))
    return (lag - size if lag > size // 2 else lag) / SAMPLE_RATE, float(correlation.max()) / norm


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@dataclass(frozen=True)
class Heard:
    """A track of `with_tracks`: what is heard in it, and what the file says of it."""

    samples: Samples
    language: str = ""
    title: str = ""
    default: bool = False


def with_tracks(muxer: str, codec: str, *tracks: Heard) -> bytes:
    """A file with several audio tracks, without a picture."""
    file = io.BytesIO()
    with av.open(file, "w", muxer) as container:
        streams = [container.add_stream(codec, 48_000, layout="mono") for _ in tracks]
        for stream, track in zip(streams, tracks, strict=True):
            assert isinstance(stream, av.AudioStream)
            stream.metadata.update({"language": track.language, "title": track.title})
            stream.disposition = Disposition.default if track.default else Disposition(0)
            stream.codec_context.open(strict=False)
        for stream, track in zip(streams, tracks, strict=True):
            assert isinstance(stream, av.AudioStream)
            _fill(container, stream, track.samples, lambda seconds: seconds)
    return file.getvalue()


def limited(**changed: Any) -> FetchLimits:
    """The limits of a server with default settings, but for what is ``changed``."""
    return replace(FetchLimits.of(load_settings()), **changed)
