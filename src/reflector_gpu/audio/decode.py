"""Decode any audio or video file to 16 kHz mono, with the FFmpeg in PyAV's wheels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from reflector_gpu.audio.channels import channel_of
from reflector_gpu.audio.container import (
    Clock,
    check_not_empty,
    check_rate,
    claimed_seconds,
    damage_of,
    frames,
    longest_hole,
    opened,
)
from reflector_gpu.audio.ending import flaws
from reflector_gpu.audio.mixing import Phase
from reflector_gpu.audio.resampling import resampled
from reflector_gpu.audio.spool import THINNEST, SpoolReader
from reflector_gpu.audio.tracks import ANY_TRACK, ONLY_TRACK, TrackWish, audio_track, chosen
from reflector_gpu.audio.wav import PlainWav, wav_end
from reflector_gpu.errors import TooLarge, UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE, SOUND, Condition, Samples, Truncation

BLOCK_SAMPLES = 16_384
"""Samples in a decoded block: 1.024 s, a whole number of VAD windows."""

_LEAST, _MOST = np.float32(-1), np.float32(1)
_HELD_BACK = 64  # samples that a resampler keeps back; gathered too, or a block would be too short
_MOST_FRAMES = 2_048  # to gather at once: each takes memory besides its samples
_FORMATS: dict[str, np.dtype[Any]] = {
    **dict.fromkeys(("s16", "s16p"), np.dtype(np.int16)),
    **dict.fromkeys(("s32", "s32p"), np.dtype(np.int32)),
    **dict.fromkeys(("flt", "fltp"), np.dtype(np.float32)),
}
_LAYOUTS = {"mono": "mono", "1 channels": "mono", "stereo": "stereo", "2 channels": "stereo"}
_CHANNELS = {"mono": 1, "stereo": 2}  # of the layouts that are gathered
_PLANAR = ("s16p", "s32p", "fltp")
_AS_WANTED = [(name, "mono", SAMPLE_RATE) for name in ("s16", "s16p", "flt", "fltp")]

_Shape: TypeAlias = tuple[str, str, int]
"""Of a frame: sample format, layout and rate."""

Piece: TypeAlias = Samples | Callable[[], Iterable[Samples]]
"""A block, or what makes blocks of samples that have been decoded and are still to be resampled."""


def decode(
    reader: SpoolReader,
    *,
    max_seconds: float = float("inf"),
    expect: Callable[[float], None] = lambda _: None,
    track: TrackWish = ANY_TRACK,
    notice: Callable[[Condition], None] = lambda _: None,
    ahead: Callable[[Iterator[Piece]], Iterator[Piece]] = lambda pieces: pieces,
) -> Iterator[Samples]:
    """Yield blocks of at most `BLOCK_SAMPLES` while the bytes still arrive.

    Damaged packets are skipped, and a truncated file gives what it holds. Holes in the time stamps
    (paused recordings, discontinuous transmission) become silence.

    ``expect`` gets the length in seconds: first the one that the header claims, if the file is
    large enough for it, and the true one in the end. ``notice`` gets what is wrong with the file,
    in the end. ``ahead`` may have another thread decode pieces before they are needed here.

    Raises:
        UndecodableAudio: nothing in the file can be decoded to audio.
        InvalidRequest: it has no such ``track``.
        TooLarge: there are more than ``max_seconds`` of audio.
    """
    produced = 0
    check_not_empty(reader)
    least = math.inf if reader.total is None else reader.total / THINNEST  # else the header lies

    def claimed(seconds: float) -> None:
        expect(min(seconds, max_seconds, least))

    for block in _blocks(reader, claimed, track, notice, ahead):
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
    """The length that the header claims, an estimate; None where it claims none."""
    try:
        with opened(reader) as container:
            return claimed_seconds(container)
    except (UndecodableAudio, av.FFmpegError):
        return None


def _blocks(
    reader: SpoolReader,
    expect: Callable[[float], None],
    track: TrackWish,
    notice: Callable[[Condition], None],
    ahead: Callable[[Iterator[Piece]], Iterator[Piece]],
) -> Iterator[Samples]:
    """The blocks of one file, or of several WAV files joined into one."""
    found = list[Condition]()
    seconds = 0.0
    for block in _blocks_of_one(reader, expect, track, found.append, ahead):
        seconds += len(block) / SAMPLE_RATE
        yield block
    same = TrackWish(channel=track.channel)
    while (end := wav_end(reader)) is not None:
        reader, begin = reader.behind(end), seconds
        try:
            for block in _blocks_of_one(reader, lambda _: None, same, found.append, ahead):
                seconds += len(block) / SAMPLE_RATE
                yield block
        except UndecodableAudio:  # it only begins
            found.append(Condition(truncated=Truncation(seconds - begin)))
        found.append(_joined(found.pop(0), found.pop(0), begin))
    notice(found[0])


def _joined(first: Condition, second: Condition, begin: float) -> Condition:
    """The condition of a recording whose second part begins after so many seconds."""
    damaged = tuple((begin + start, begin + end) for start, end in second.damaged)
    cut = second.truncated
    if cut:
        expected = None if cut.expected is None else begin + cut.expected
        cut = Truncation(begin + cut.decoded, expected)
    return replace(first, damaged=(*first.damaged, *damaged), truncated=cut or first.truncated)


def _blocks_of_one(
    reader: SpoolReader,
    expect: Callable[[float], None],
    track: TrackWish,
    notice: Callable[[Condition], None],
    ahead: Callable[[Iterator[Piece]], Iterator[Piece]],
) -> Iterator[Samples]:
    if plain := PlainWav.of(reader):
        chosen(ONLY_TRACK, track)
        expect(plain.seconds)
        yield from plain.blocks(BLOCK_SAMPLES)
        notice(SOUND)
    else:
        for piece in ahead(_decoded(reader, expect, track, notice)):
            if callable(piece):
                yield from piece()
            else:
                yield piece


def _decoded(
    reader: SpoolReader,
    expect: Callable[[float], None],
    track: TrackWish,
    notice: Callable[[Condition], None],
) -> Iterator[Piece]:
    with opened(reader) as container:
        if seconds := claimed_seconds(container):
            expect(seconds)
        stream, choice = audio_track(container, track)
        resampler, damage = _Resampler(track.channel), damage_of(container)
        start: int | None = container.start_time
        began = None if start is None else start / av.time_base
        clock = Clock(began, longest=longest_hole(container))
        for packet, frame in frames(container, stream, damage):
            hole, length = clock.hole_before(frame), frame.samples / frame.sample_rate
            if missing := damage.missing_before(packet, length, hole):
                yield from resampler.silence(missing)
            yield from resampler.push(frame)
        yield from resampler.flush()
        damaged, truncated = flaws(reader, container, damage)
        taken = choice.taken if choice.left else None
        notice(Condition(damaged, truncated, taken, choice.left))


class _Resampler:
    """Makes mono blocks of frames. Their rate, layout and sample format may change midway.

    Ordinary frames are gathered first. MP3 has 28 of them a second, and a call for each would cost
    more than the resampling itself.
    """

    def __init__(self, channel: int | None = None) -> None:
        """All channels are mixed, unless it is to be one ``channel`` alone."""
        self._channel = channel
        self._shape: _Shape | None = None
        self._resampler: AudioResampler | None = None
        self._parts: list[Sequence[Any]] = []  # buffers: the planes of each frame
        self._planes = self._stride = 0  # of a frame that is gathered, and bytes of a sample in one
        self._phase = Phase()
        self._enough = self._missing = BLOCK_SAMPLES

    def push(self, frame: AudioFrame) -> Iterable[Piece]:
        """The pieces that ``frame`` completes; no generator for each of the many that do not."""
        if self._channel is not None:
            try:
                frame = channel_of(frame, self._channel)
            except ValueError:
                return ()  # damage that made a frame of no possible shape
        layout = frame.layout.name
        shape = (frame.format.name, _LAYOUTS.get(layout, layout), frame.sample_rate)
        if shape != self._shape:
            return self._changed(frame, shape)
        return self._taken(frame)

    def _changed(self, frame: AudioFrame, shape: _Shape) -> Iterator[Piece]:
        """Begin with frames of another ``shape``."""
        yield from self.flush()
        self._begin(shape)
        yield from self._taken(frame)

    def _taken(self, frame: AudioFrame) -> Iterable[Piece]:
        if not self._planes:
            assert self._resampler  # at once: there may be many frames, each with a few samples
            return tuple(_resampled(self._resampler, frame))
        samples, planes = frame.samples, frame.planes
        size = samples * self._stride
        # All planes have the same room. Damage makes frames of no possible shape.
        if len(planes) != self._planes or (room := planes[0].buffer_size) < size:
            return ()
        self._parts.append(planes if room == size else [memoryview(one)[:size] for one in planes])
        self._missing -= samples
        enough = self._missing <= 0 or len(self._parts) >= _MOST_FRAMES
        return self._gathered() if enough else ()

    def flush(self) -> Iterator[Piece]:
        while self._parts:
            yield from self._gathered()
        if self._resampler:
            yield partial(_resampled, self._resampler, None)
        self._resampler = self._shape = None

    def silence(self, seconds: float) -> Iterator[Piece]:
        left = round(seconds * SAMPLE_RATE)
        if left:
            yield from self.flush()
        while left > 0:
            yield np.zeros(min(left, BLOCK_SAMPLES), np.float32)
            left -= BLOCK_SAMPLES

    def _begin(self, shape: _Shape) -> None:
        kind, layout, rate = shape
        check_rate(rate)
        self._shape = shape
        channels = _CHANNELS.get(layout, 0) if kind in _FORMATS else 0
        self._planes = min(channels, 1) if kind not in _PLANAR else channels
        self._stride = _FORMATS[kind].itemsize * channels // self._planes if channels else 0
        self._enough = BLOCK_SAMPLES
        # For a short clip the resampler takes longer than the decoder, so it is not used in vain.
        if shape not in _AS_WANTED:
            self._enough = (BLOCK_SAMPLES + _HELD_BACK) * rate // SAMPLE_RATE
            self._resampler = AudioResampler("s32", "mono", SAMPLE_RATE, BLOCK_SAMPLES)
        self._missing = self._enough

    def _gathered(self) -> Iterator[Piece]:
        """What has been gathered. What is left behind the last whole block waits for more."""
        assert self._shape
        sample_format, *_ = self._shape
        planes = chain.from_iterable(zip(*self._parts, strict=True))
        joined = np.frombuffer(b"".join(planes), _FORMATS[sample_format])
        array = joined.reshape(len(self._parts[0]), -1)
        self._parts, self._missing = [], self._enough
        if self._resampler:
            yield partial(_resampled_array, self._resampler, self._phase, array, self._shape)
            return
        (samples,) = array
        whole = len(samples) // BLOCK_SAMPLES * BLOCK_SAMPLES or len(samples)
        for first in range(0, whole, BLOCK_SAMPLES):
            yield _converted(samples[first : min(first + BLOCK_SAMPLES, whole)])
        if whole < len(samples):
            self._parts = [[samples[whole:]]]
            self._missing -= len(samples) - whole


def _resampled_array(
    resampler: AudioResampler, phase: Phase, array: NDArray[Any], shape: _Shape
) -> Iterator[Samples]:
    sample_format, layout, rate = shape
    if layout == "stereo":
        array = phase.aligned(array)
    frame = AudioFrame.from_ndarray(array, sample_format, layout)
    frame.sample_rate = rate
    return _resampled(resampler, frame)


def _resampled(resampler: AudioResampler, frame: AudioFrame | None) -> Iterator[Samples]:
    for out in resampled(resampler, frame):
        yield _scaled(out.to_ndarray().reshape(-1), 2.0**-31)


def _converted(samples: NDArray[Any]) -> Samples:
    """Samples that need no resampler."""
    if samples.dtype.kind != "f":
        return _scaled(samples, 2.0**-15)
    # As FFmpeg makes integers of them: clipped, and NaN becomes -1.
    clipped: Samples = np.fmin(np.fmax(samples, _LEAST), _MOST)
    return clipped


def _scaled(samples: NDArray[Any], scale: float) -> Samples:
    # From integers: FFmpeg lets a sum of channels pass full scale where it makes floating point.
    scaled: Samples = np.multiply(samples, np.float32(scale), dtype=np.float32)
    return scaled
