"""Put silence before a recording, as Opus in WebM, to align a participant's track to a meeting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, Self, TypeAlias

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from reflector_gpu.audio.container import (
    Clock,
    check_not_empty,
    check_rate,
    claimed_seconds,
    damage_of,
    frames,
    keeps_time,
    opened,
)
from reflector_gpu.audio.resampling import resampled
from reflector_gpu.audio.spool import THINNEST, Spool, SpoolReader
from reflector_gpu.audio.tracks import audio_track
from reflector_gpu.errors import TooLarge, UndecodableAudio

RATE = 48_000
"""Samples a second of what is written, on each of two channels."""

LONGEST_PADDING = 18_000.0
"""The most silence, in seconds, before a recording and in any hole of it."""

Stereo: TypeAlias = NDArray[np.int16]
"""Interleaved samples: ``int16[1, 2 * n]``."""

_BITS_A_SECOND = 128_000
_PACKET = 960  # samples: 20 ms
_SILENT_PACKET = b"\xfc\xff\xfe"  # what libopus makes of silence: CELT, full band, stereo, 20 ms
_ENCODED_SILENCE = 5 * _PACKET  # samples to encode; the rest is the packet above, repeated
_REPEATS = 1_000  # packets between two reports of progress
_TICK = Fraction(1, RATE)
_SHORTEST_HOLE = 0.1  # seconds; Reflector's own padding fills holes from here on
_ROUNDING = 1.0  # seconds by which what is encoded may be shorter than the frames together
_NO_BYTE = 1 << 62  # an offset that no recording reaches
BEGINNING = 65_536
"""Bytes that are kept to be corrected; the muxer corrects only some of the first few hundred."""

_ONE_CHANNEL = ("mono", "1 channels")


class WebmFile:
    """A file-like target for the muxer, on top of a spool that may be sent while it grows.

    In the end the muxer goes back to correct the duration and the place of the index. The spool
    keeps the first version, which is the valid beginning of a live stream and may have been sent.
    `beginning` has the corrected one.
    """

    def __init__(self, spool: Spool) -> None:
        self.beginning = bytearray()
        """The first bytes, as they are when the file is complete."""
        self._spool = spool
        self._position = 0

    def write(self, data: bytes) -> int:
        begin, end = self._position, self._position + len(data)
        if begin < BEGINNING:
            self.beginning[begin:end] = data[: BEGINNING - begin]
        if end > self._spool.size:
            self._spool.write(data[self._spool.size - begin :])
        self._position = end
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to ``offset`` from the start, or from the end if ``whence`` is 2."""
        self._position = offset + {0: 0, 1: self._position, 2: self._spool.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


def pad(
    reader: SpoolReader,
    file: WebmFile,
    seconds: float,
    *,
    max_seconds: float = float("inf"),
    expect: Callable[[float], None] = lambda _: None,
    passed: Callable[[float], None] = lambda _: None,
) -> Iterator[float]:
    """Write ``seconds`` of silence and then the recording, while that arrives.

    Yields how many seconds are written so far, once the recording is known to have audio. Its first
    sample comes right after the silence, whatever its time stamp says: that is how Reflector counts
    the silence. Holes between later time stamps become silence too.

    ``expect`` gets the length that the recording claims, and in the end the true one. ``passed`` is
    called now and then with the seconds that have been measured: decoding alone, in a tenth of the
    time, tells that a recording is too long.

    Raises:
        UndecodableAudio: nothing in the recording can be decoded to audio.
        TooLarge: there are more than ``max_seconds`` of it.
        StorageFull
    """
    check_not_empty(reader)
    pieces = _gathered(_decoded(reader, lambda claim: expect(min(claim, max_seconds))))
    first = next(pieces, None)
    if first is None:
        raise UndecodableAudio("The file holds no decodable audio.", param="file")
    limit, length = _Limit(reader, max_seconds, passed), 0

    def counted(piece: Stereo) -> Stereo:
        nonlocal length
        length += piece.shape[1] // 2
        limit.check(length / RATE)
        return piece

    first = counted(first)
    with _Writer(file) as writer:
        yield from writer.silence(round(seconds * RATE))
        yield writer.add(first)
        for piece in pieces:
            yield writer.add(counted(piece))
        writer.finish()
    expect(length / RATE)


class _Limit:
    """Refuses too long a recording before most of it is encoded."""

    def __init__(
        self, reader: SpoolReader, max_seconds: float, passed: Callable[[float], None]
    ) -> None:
        self._reader = reader
        self._max_seconds = max_seconds
        self._passed = passed
        self._measured = False

    def check(self, seconds: float) -> None:
        """Check a recording before its first ``seconds`` are encoded.

        All of it is measured once its last byte is there. That byte is waited for if so many
        seconds of speech would take more bytes: a few kilobytes can hold hours of silence.
        """
        if seconds > self._max_seconds:
            raise self._error()
        if seconds > self._reader.tell() / THINNEST:
            self._reader.peek(_NO_BYTE, 1)
        if not self._measured and self._reader.total is not None:
            self._measured = True
            self._measure()

    def _measure(self) -> None:
        seconds = told = 0.0
        for frame, hole in _timed(self._reader.behind(0), lambda _: None):
            seconds += hole + frame.samples / frame.sample_rate
            if seconds > self._max_seconds + _ROUNDING:
                raise self._error()
            if seconds - told > 1:
                told = seconds
                self._passed(seconds)

    def _error(self) -> TooLarge:
        return TooLarge(
            f"The audio is longer than this server's limit of {self._max_seconds:g} seconds.",
            param="file",
        )


def _decoded(reader: SpoolReader, expect: Callable[[float], None]) -> Iterator[Stereo]:
    resampler = _Resampler()
    for frame, hole in _timed(reader, expect):
        if hole:
            yield from resampler.flush()
            yield from _zeros(round(hole * RATE))
        yield from resampler.push(frame)
    yield from resampler.flush()


def _timed(
    reader: SpoolReader, expect: Callable[[float], None]
) -> Iterator[tuple[AudioFrame, float]]:
    """The frames of the recording, each with the seconds that are missing before it."""
    with opened(reader) as container:
        if seconds := claimed_seconds(container):
            expect(seconds)
        stream, _ = audio_track(container)
        clock = Clock(None, shortest=_SHORTEST_HOLE, longest=LONGEST_PADDING)
        for _, frame in frames(container, stream, damage_of(container)):
            check_rate(frame.sample_rate)
            yield frame, clock.hole_before(frame) if keeps_time(container) else 0.0


def _gathered(pieces: Iterator[Stereo]) -> Iterator[Stereo]:
    """The same samples in pieces of a second, because each step costs something."""
    held: list[Stereo] = []
    missing = RATE
    for piece in pieces:
        held.append(piece)
        missing -= piece.shape[1] // 2
        if missing <= 0:
            yield np.concatenate(held, axis=1)
            held, missing = [], RATE
    if held:
        yield np.concatenate(held, axis=1)


def _zeros(samples: int) -> Iterator[Stereo]:
    """Silence in pieces of a second."""
    for done in range(0, samples, RATE):
        yield np.zeros((1, 2 * min(RATE, samples - done)), np.int16)


class _Resampler:
    """Makes 48 kHz stereo of frames. Their rate, layout and sample format may change midway."""

    def __init__(self) -> None:
        self._shape: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._doubled = False

    def push(self, frame: AudioFrame) -> Iterator[Stereo]:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            yield from self.flush()
            # FFmpeg makes stereo of mono quieter; two equal channels are what was meant.
            self._doubled = frame.layout.name in _ONE_CHANNEL
            layout = "mono" if self._doubled else "stereo"
            self._shape, self._resampler = shape, AudioResampler("s16", layout, RATE)
        yield from self._resampled(frame)

    def flush(self) -> Iterator[Stereo]:
        if self._resampler:
            yield from self._resampled(None)
        self._resampler = self._shape = None

    def _resampled(self, frame: AudioFrame | None) -> Iterator[Stereo]:
        assert self._resampler
        for out in resampled(self._resampler, frame):
            samples: Stereo = np.asarray(out.to_ndarray(), np.int16)
            if samples.size:
                yield np.repeat(samples, 2, axis=1) if self._doubled else samples


class _Writer:
    """The encoder and the muxer. Use it in a ``with`` block, which closes them."""

    def __init__(self, file: WebmFile) -> None:
        self._container = av.open(file, "w", format="webm")
        stream = self._container.add_stream("libopus", rate=RATE, layout="stereo")
        assert isinstance(stream, AudioStream)
        stream.bit_rate = _BITS_A_SECOND
        self._stream = stream
        self._container.start_encoding()
        self._fed = 0
        self._place = -int.from_bytes((stream.codec_context.extradata or b"")[10:12], "little")
        """The sample at which the next packet begins. The encoder's delay comes before 0."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._container.close()
        except Exception:  # whatever libav raises at the end of a file
            if error is None:
                raise  # after another error the end cannot be written either

    def silence(self, samples: int) -> Iterator[float]:
        repeated = max(0, samples - _ENCODED_SILENCE) // _PACKET
        for done in range(0, repeated, _REPEATS):
            for _ in range(min(_REPEATS, repeated - done)):
                self._mux(av.Packet(_SILENT_PACKET), _PACKET)
            yield self._written
        for piece in _zeros(samples - repeated * _PACKET):
            yield self.add(piece)

    def add(self, piece: Stereo) -> float:
        """Encode ``piece``; return how many seconds are written by now."""
        frame = AudioFrame.from_ndarray(piece, "s16", "stereo")
        frame.sample_rate, frame.time_base, frame.pts = RATE, _TICK, self._fed
        self._fed += frame.samples
        self._encode(frame)
        return self._written

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        self._encode(None)

    @property
    def _written(self) -> float:
        return max(0, self._place) / RATE

    def _encode(self, frame: AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._mux(packet, packet.duration or _PACKET)

    def _mux(self, packet: av.Packet[Any], samples: int) -> None:
        packet.stream = self._stream
        packet.time_base = _TICK
        packet.pts = packet.dts = self._place
        packet.duration = samples
        self._place += samples
        self._container.mux_one(packet)
