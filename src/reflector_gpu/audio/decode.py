"""Any audio or video file to 16 kHz mono blocks, with the FFmpeg that PyAV's wheels carry.

Client bytes reach native demuxers here, so only plain media containers are let through: playlists
(HLS, concat, SDP) could make FFmpeg open other files or addresses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from reflector_gpu.audio.layouts import WithoutLayouts
from reflector_gpu.audio.spool import SpoolReader
from reflector_gpu.audio.wav import PlainWav
from reflector_gpu.errors import TooLarge, UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE, Samples

BLOCK_SAMPLES = 16_384
"""Samples in a decoded block: 1.024 s, a whole number of VAD windows."""

READABLE = "wav, mp3, mp4, m4a, mov, webm, ogg, opus, flac, aac"

_DEMUXERS = "aac,aiff,amr,asf,avi,caf,flac,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"
_OPTIONS = {
    "format_whitelist": _DEMUXERS,
    "protocol_whitelist": "none",
    "max_probe_packets": "1",  # else every packet of a short WAV is searched for DTS, which is slow
}
_NO_CLOCK = ("aac", "aiff", "amr", "flac", "mp3", "w64", "wav")  # time stamps are guessed
_MAX_GAP = 600.0  # seconds; a larger hole in the time stamps is a broken clock, not silence
_LOWEST_RATE = 2_000  # Hz; a few bytes at 1 Hz would resample to gigabytes
_HIGHEST_RATE = 768_000  # Hz; a second of it is held in memory
_HELD_BACK = 64  # samples, by a resampler; else the first block would wait for a second gathering
_MOST_FRAMES = 2_048  # gathered at once: each takes some memory besides its samples
_FORMATS = {
    **dict.fromkeys(("s16", "s16p"), np.dtype(np.int16)),
    **dict.fromkeys(("s32", "s32p"), np.dtype(np.int32)),
    **dict.fromkeys(("flt", "fltp"), np.dtype(np.float32)),
}
_LAYOUTS = {"mono": "mono", "1 channels": "mono", "stereo": "stereo", "2 channels": "stereo"}
_AS_WANTED = [(name, "mono", SAMPLE_RATE) for name in ("s16", "s16p")]
_MIN_GAP = 0.25
_THINNEST = 250  # bytes a second: no codec makes less of speech, and headers may lie
_FIRST_BOXES = (b"ftyp", b"mdat", b"wide", b"free", b"skip")  # old QuickTime files lack ``ftyp``
_MAX_BOXES = 100  # before the samples or their index; real files have a handful


def decode(
    reader: SpoolReader,
    *,
    max_seconds: float = float("inf"),
    expect: Callable[[float], None] = lambda _: None,
) -> Iterator[Samples]:
    """Yield blocks of at most `BLOCK_SAMPLES` while the bytes still arrive.

    ``expect`` is told the seconds that the header claims, as far as its bytes can hold them, and
    in the end how many there were. Damaged packets are
    skipped, a truncated file gives what it holds, and holes in the time stamps (paused
    recordings, discontinuous transmission) become silence.

    Raises:
        UndecodableAudio: nothing in the file can be decoded to audio.
        TooLarge: there are more than ``max_seconds`` of audio.
    """
    produced = 0
    if not reader.read(1):
        raise UndecodableAudio("The file is empty.", param="file")
    reader.seek(0)
    least = math.inf if reader.total is None else reader.total / _THINNEST

    def claimed(seconds: float) -> None:
        expect(min(seconds, max_seconds, least))

    for block in _blocks(reader, claimed):
        produced += len(block)
        if produced > max_seconds * SAMPLE_RATE:
            raise TooLarge(
                f"The audio is longer than this server's limit of {max_seconds:g} seconds.",
                param="file",
            )
        yield block
    expect(produced / SAMPLE_RATE)
    if produced == 0:
        raise UndecodableAudio("The file holds no decodable audio.", param="file")


def header_seconds(reader: SpoolReader) -> float | None:
    """How long the recording says it is: an estimate, None where it does not say."""
    try:
        with _open(reader) as container:
            return _claimed(container)
    except (UndecodableAudio, av.FFmpegError):
        return None


def _claimed(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration else None


def _blocks(reader: SpoolReader, expect: Callable[[float], None]) -> Iterator[Samples]:
    if plain := PlainWav.of(reader):
        expect(plain.seconds)
        yield from plain.blocks(BLOCK_SAMPLES)
    else:
        yield from _decoded(reader, expect)


def _decoded(reader: SpoolReader, expect: Callable[[float], None]) -> Iterator[Samples]:
    with _open(reader) as container:
        if seconds := _claimed(container):
            expect(seconds)
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            raise UndecodableAudio("The file has no audio track.", param="file")
        resampler = _Resampler()
        start: int | None = container.start_time
        clock = _Clock(None if start is None else start / av.time_base)
        for frame in _frames(container, stream):
            if container.format.name not in _NO_CLOCK:
                yield from resampler.silence(clock.hole_before(frame))
            yield from resampler.push(frame)
        yield from resampler.flush()


def _open(reader: SpoolReader) -> InputContainer:
    if not reader.seekable() and _index_comes_last(reader):
        reader.allow_seeking()
    try:
        return av.open(
            WithoutLayouts(reader),
            mode="r",
            container_options=_OPTIONS,
            metadata_errors="ignore",
        )
    except av.FFmpegError as error:
        raise UndecodableAudio(
            f"The file is not audio that this server reads; send one of: {READABLE}.", param="file"
        ) from error


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue  # a damaged packet: the next one may be sound
    except (av.FFmpegError, IndexError):  # IndexError: PyAV, where a track appears midway
        return  # a truncated or damaged container: what came before it counts


class _Clock:
    """Finds holes by comparing time stamps with the samples that came, as small holes add up."""

    def __init__(self, start: float | None) -> None:
        """``start``: where the recording begins. A film's picture may come before its sound."""
        self._now = start
        self._running = False

    def hole_before(self, frame: AudioFrame) -> float:
        """The seconds of silence that are missing before ``frame``, which is then counted."""
        hole = 0.0
        if frame.pts is not None and frame.time_base is not None:
            begins = float(frame.pts * frame.time_base)
            gap = 0.0 if self._now is None else begins - self._now
            if _MIN_GAP < gap < _MAX_GAP:
                hole = gap
            if hole or not self._running or abs(gap) >= _MAX_GAP:
                self._now, self._running = begins, True
        if self._now is not None:
            self._now += frame.samples / frame.sample_rate
        return hole


class _Resampler:
    """Frames of any rate, layout and sample format, changing midway even, to mono blocks.

    Ordinary frames are gathered first: what is done for each of them, some 28 a second of MP3,
    costs more than to resample them.
    """

    def __init__(self) -> None:
        self._shape: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._tick = Fraction(1, SAMPLE_RATE)
        self._parts: list[list[NDArray[Any]]] = []
        self._enough = self._missing = BLOCK_SAMPLES

    def push(self, frame: AudioFrame) -> Iterator[Samples]:
        layout = _LAYOUTS.get(frame.layout.name, frame.layout.name)
        shape = (frame.format.name, layout, frame.sample_rate)
        if shape != self._shape:
            yield from self.flush()
            self._begin(shape)
        if shape[0] not in _FORMATS or layout not in _LAYOUTS:
            yield from self._resampled(frame)
            return
        try:
            self._parts.append(_planes(frame))
        except ValueError:
            return  # damage that made a frame of no possible shape
        self._missing -= frame.samples
        if self._missing <= 0 or len(self._parts) >= _MOST_FRAMES:
            yield from self._gathered()

    def flush(self) -> Iterator[Samples]:
        if self._parts:
            yield from self._gathered()
        if self._resampler:
            yield from self._resampled(None)
        self._resampler = self._shape = None

    def silence(self, seconds: float) -> Iterator[Samples]:
        left = round(seconds * SAMPLE_RATE)
        if left:
            yield from self.flush()
        while left > 0:
            yield np.zeros(min(left, BLOCK_SAMPLES), np.float32)
            left -= BLOCK_SAMPLES

    def _begin(self, shape: tuple[str, str, int]) -> None:
        rate = shape[2]
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            raise UndecodableAudio(
                f"The audio has {rate} samples a second; "
                f"{_LOWEST_RATE} to {_HIGHEST_RATE} can be read.",
                param="file",
            )
        self._shape, self._tick = shape, Fraction(1, rate)
        self._enough = BLOCK_SAMPLES
        # What is as wanted stays so: to resample a short clip takes longer than to decode it.
        if shape not in _AS_WANTED:
            self._enough = (BLOCK_SAMPLES + _HELD_BACK) * rate // SAMPLE_RATE
            self._resampler = AudioResampler("s32", "mono", SAMPLE_RATE, BLOCK_SAMPLES)
        self._missing = self._enough

    def _gathered(self) -> Iterator[Samples]:
        assert self._shape
        sample_format, layout, rate = self._shape
        array = np.stack([np.concatenate(parts) for parts in zip(*self._parts, strict=True)])
        self._parts, self._missing = [], self._enough
        if self._resampler:
            frame = AudioFrame.from_ndarray(array, sample_format, layout)
            frame.sample_rate = rate
            yield from self._resampled(frame)
            return
        for first in range(0, array.shape[1], BLOCK_SAMPLES):
            yield _samples(array[:, first : first + BLOCK_SAMPLES], 2.0**-15)

    def _resampled(self, frame: AudioFrame | None) -> Iterator[Samples]:
        assert self._resampler
        if frame is not None:
            frame.pts = None  # the resampler would reorder by time stamps; holes are ours to fill
            frame.time_base = self._tick
        try:
            resampled = self._resampler.resample(frame)
        except (av.FFmpegError, ValueError):
            return  # damage that made a frame of no possible shape
        for out in resampled:
            yield _samples(out.to_ndarray(), 2.0**-31)


def _planes(frame: AudioFrame) -> list[NDArray[Any]]:
    """Views of its samples, which keep it alive; ``frame.to_ndarray()`` copies them, slowly.

    Raises:
        ValueError: the frame is of no possible shape.
    """
    kind, planes, channels = _FORMATS[frame.format.name], frame.planes, frame.layout.nb_channels
    expected = channels if frame.format.is_planar else 1
    if len(planes) != expected:
        raise ValueError(f"{len(planes)} planes for {channels} channels")
    count = frame.samples * channels // expected
    # The stubs do not tell that a plane is a buffer.
    return [np.frombuffer(plane, kind, count) for plane in planes]  # type: ignore[call-overload]


def _samples(array: NDArray[Any], scale: float) -> Samples:
    # Integers, because FFmpeg lets a sum of channels clip only where the result is floating point.
    return array.reshape(-1).astype(np.float32) * np.float32(scale)


def _index_comes_last(reader: SpoolReader) -> bool:
    """Whether this is an MP4 or MOV (ISO 14496-12) whose ``moov`` stands behind its ``mdat``."""
    offset = 0
    for _ in range(_MAX_BOXES):
        header = reader.peek(offset, 16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind == b"mdat":
            return True
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if kind == b"moov" or size < 8 or (offset == 0 and kind not in _FIRST_BOXES):
            return False
        offset += size
    return False
