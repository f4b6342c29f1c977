"""What recordings are decoded for: chunks, a diarizer's recording, a voice, a padded file.

A task may also count the channels. Tasks run inside of a decoder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import numpy as np

from reflector_gpu.audio.channels import layout_of
from reflector_gpu.audio.chunk import chunker
from reflector_gpu.audio.decode import Piece, decode
from reflector_gpu.audio.padding import BEGINNING, WebmFile, pad
from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.speech import speech_spans
from reflector_gpu.audio.spool import Spool, SpoolReader
from reflector_gpu.audio.tracks import ANY_TRACK, TrackWish
from reflector_gpu.audio.vad import WINDOW, VadOptions, VoiceActivity
from reflector_gpu.audio.wav import PlainWav
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import Claimed, Cut, Data, Ended, Passed, Told
from reflector_gpu.decoding.prefetching import prefetched
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import PLAIN, SAMPLE_RATE, SOUND, Chunk, Condition, Samples, Schedule

_SHORT = 30  # blocks, of about a second; what is longer is worth a thread, and larger blocks
_TOGETHER, _AHEAD = 4, 4  # the detector is fastest with four at once
_PIECES_AHEAD = 8  # of about a second, before they are resampled
_SAMPLE_BYTES = np.dtype(np.float32).itemsize
_SAY_SECONDS = 30.0  # of audio without speech, after which the position is sent all the same


@dataclass(frozen=True, slots=True)
class Chunking:
    """Cut a recording into chunks of speech.

    ``max_chunk_seconds`` and ``max_gap_seconds`` are the engine's. A task with an output keeps
    the recording there, as 16-bit samples, for a diarizer: chunks come without samples then, and
    the result is the detector's probability for each window, ``float32[n]``. What another decoder
    has cut, up to ``begin`` seconds, is not cut again.
    """

    max_chunk_seconds: float
    max_gap_seconds: float
    vad: VadOptions = field(default_factory=VadOptions)
    schedule: Schedule = PLAIN
    max_seconds: float = float("inf")
    track: TrackWish = ANY_TRACK
    begin: float = 0.0

    @property
    def most_data(self) -> float:
        return max(_sample_bytes(self.max_chunk_seconds), _window_bytes(self.max_seconds))

    def after(self, chunks: int, end: float, claimed: float | None) -> Chunking:
        """What is left for another decoder after ``chunks``, the last of which ended at ``end``.

        ``claimed`` is the length that the recording gave for itself. The schedule stays, though the
        recording may give another now that more of its bytes are here.
        """
        schedule = _decided(self.schedule, claimed)
        rest = replace(schedule, early_seconds=schedule.early_seconds[chunks:])
        return replace(self, schedule=rest, begin=end)

    def run(
        self, reader: SpoolReader, output: Spool | None, passed: Callable[[float], None]
    ) -> Iterator[Told]:
        source = _Source(reader, self.max_seconds, self.track, passed)
        blocks = source.blocks()
        recorder = Recorder(output) if output else None
        if recorder:
            blocks = recorder.kept(blocks)
        detector = source.metered(
            recorder.detector() if recorder else VoiceActivity().probabilities
        )
        opening = list(islice(blocks, 1))
        if source.claimed is not None:
            yield Claimed(source.claimed), b""
        cutter = chunker(
            detector,
            max_seconds=self.max_chunk_seconds,
            max_gap=self.max_gap_seconds,
            options=self.vad,
            schedule=_decided(self.schedule, source.claimed),
            begin=self.begin,
        )
        told = 0.0

        def cut(chunk: Chunk) -> Told:
            nonlocal told
            told = source.seconds
            message = Cut(chunk.start, len(chunk.samples), chunk.voiced, told)
            return message, b"" if recorder else _data(chunk.samples)

        for block in chain(opening, blocks):
            yield from map(cut, cutter.push(block, reader.waited))
            if source.seconds - told > _SAY_SECONDS:
                told = source.seconds
                yield Passed(told), b""
        yield from map(cut, cutter.finish())
        yield source.ended(), _data(recorder.probabilities) if recorder else b""


@dataclass(frozen=True, slots=True)
class Listening:
    """Keep a recording in the output, as 16-bit samples, and detect where anybody speaks.

    The result is the detector's probability for each window, ``float32[n]``.
    """

    max_seconds: float = float("inf")
    track: TrackWish = ANY_TRACK

    @property
    def most_data(self) -> float:
        return _window_bytes(self.max_seconds)

    def run(
        self, reader: SpoolReader, output: Spool | None, passed: Callable[[float], None]
    ) -> Iterator[Told]:
        assert output is not None
        source = _Source(reader, self.max_seconds, self.track, passed)
        recorder = Recorder(output)
        claimed = False
        detector = source.metered(recorder.detector())
        for seconds in recorder.listen(source.blocks(), detector):
            if source.claimed is not None and not claimed:
                claimed = True
                yield Claimed(source.claimed), b""
            yield Passed(seconds), b""
        yield source.ended(), _data(recorder.probabilities)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decode a short recording as a whole: the result is its samples, ``float32[n]``.

    The messages before it say how many seconds of speech there are.
    """

    max_seconds: float

    @property
    def most_data(self) -> float:
        return _sample_bytes(self.max_seconds)

    def run(
        self, reader: SpoolReader, _: Spool | None, passed: Callable[[float], None]
    ) -> Iterator[Told]:
        source = _Source(reader, self.max_seconds, ANY_TRACK, passed)
        blocks = list(source.blocks())
        heard = sum(end - begin for begin, end in speech_spans(blocks))
        yield Passed(heard), b""
        yield source.ended(), _data(np.concatenate(blocks))


@dataclass(frozen=True, slots=True)
class Surveying:
    """Count the tracks and channels that a recording has: the result is a byte for each number.

    The length that the recording claims comes first, if it claims any.
    """

    track: TrackWish = ANY_TRACK

    @property
    def most_data(self) -> float:
        return 2

    def run(
        self, reader: SpoolReader, _: Spool | None, passed: Callable[[float], None]
    ) -> Iterator[Told]:
        found = layout_of(reader, self.track)
        if found.seconds is not None:
            yield Claimed(max(0.0, found.seconds)), b""
        yield Ended(0.0), bytes(min(number, 255) for number in (found.tracks, found.channels))


@dataclass(frozen=True, slots=True)
class Padding:
    """Write ``seconds`` of silence and the recording to the output, as Opus in WebM.

    The result is the beginning of the file as it has to be once the rest is complete.
    """

    seconds: float
    max_seconds: float = float("inf")

    @property
    def most_data(self) -> float:
        return BEGINNING

    def run(
        self, reader: SpoolReader, output: Spool | None, passed: Callable[[float], None]
    ) -> Iterator[Told]:
        assert output is not None
        file, claims = WebmFile(output), list[float]()
        steps = pad(
            reader,
            file,
            self.seconds,
            max_seconds=self.max_seconds,
            expect=claims.append,
            passed=passed,
        )
        claimed = False
        for seconds in steps:
            passed(seconds)
            if claims and not claimed:
                claimed = True
                yield Claimed(claims[0]), b""
            yield Passed(max(0.0, seconds - self.seconds)), b""
        yield Ended(claims[-1]), bytes(file.beginning)


def _decided(schedule: Schedule, claimed: float | None) -> Schedule:
    """The lengths of the chunks of a recording that claims ``claimed`` seconds, or nothing."""
    whole = claimed is not None and claimed <= schedule.whole_seconds
    return replace(
        schedule, early_seconds=() if whole else schedule.early_seconds, whole_seconds=-1.0
    )


def is_plain(task: DecodeTask, spool: Spool) -> bool:
    """Whether a decoder needs no library to read what ``spool`` holds for ``task``.

    Such a recording cannot harm the decoder.
    """
    wav = PlainWav.of(spool.reader()) if spool.complete and not spool.closed else None
    return (
        wav is not None
        and wav.is_all
        and isinstance(task, Chunking | Listening | Sampling | Surveying)
    )


def is_repeatable(task: DecodeTask) -> bool:
    """Whether the task can be begun again after a part of its output has been read."""
    return not isinstance(task, Padding)


class _Source:
    """A recording's blocks, and what is found out about it meanwhile."""

    def __init__(
        self,
        reader: SpoolReader,
        max_seconds: float,
        track: TrackWish,
        passed: Callable[[float], None],
    ) -> None:
        self.claimed: float | None = None
        self._reader = reader
        self._max_seconds = max_seconds
        self._track = track
        self._passed = passed
        self._condition = SOUND
        self._samples = 0
        self._resampling = 0  # the thread that does it
        self._reading = self._decoding = self._detecting = 0.0  # seconds of CPU

    @property
    def seconds(self) -> float:
        """Decoded so far."""
        return self._samples / SAMPLE_RATE

    def blocks(self) -> Iterator[Samples]:
        """The recording, larger blocks once all bytes have arrived.

        Threads decode and resample a long one ahead of the consumer.
        """
        found = decode(
            self._reader,
            max_seconds=self._max_seconds,
            expect=self._expect,
            track=self._track,
            notice=self._notice,
            ahead=self._read_ahead,
        )
        found = self._decoded(found)
        complete = lambda: self._reader.total is not None  # noqa: E731
        for block in prefetched(_growing(found, complete), after=_SHORT, ahead=_AHEAD):
            self._samples += len(block)
            self._passed(self.seconds)
            yield block

    def metered(self, detector: Callable[[Samples], Samples]) -> Callable[[Samples], Samples]:
        """``detector``, whose time is counted."""

        def detect(samples: Samples) -> Samples:
            began = time.thread_time()
            found = detector(samples)
            self._detecting += time.thread_time() - began
            return found

        return detect

    def ended(self) -> Ended:
        return Ended(
            self.seconds,
            self._condition,
            decoding=self._reading + self._decoding,
            detecting=self._detecting,
        )

    def _read_ahead(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """``pieces``. If they are to be resampled, which takes as long, a thread decodes ahead."""
        piece: Piece | None = None
        for piece in islice(pieces, _SHORT):
            yield piece
        if callable(piece):
            pieces = prefetched(self._read(pieces), after=0, ahead=_PIECES_AHEAD)
        yield from pieces

    def _read(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """``pieces``. What it takes to decode them is counted here if another thread does it."""
        while True:
            began = time.thread_time()
            piece = next(pieces, None)
            if threading.get_ident() != self._resampling:
                self._reading += time.thread_time() - began
            if piece is None:
                return
            yield piece

    def _decoded(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """``blocks``, whose time is counted: that of the CPU, for they may wait for bytes."""
        while True:
            self._resampling = threading.get_ident()
            began = time.thread_time()
            block = next(blocks, None)
            self._decoding += time.thread_time() - began
            if block is None:
                return
            yield block

    def _expect(self, seconds: float) -> None:
        self.claimed = seconds

    def _notice(self, condition: Condition) -> None:
        self._condition = condition


def _growing(blocks: Iterator[Samples], complete: Callable[[], bool]) -> Iterator[Samples]:
    yield from islice(blocks, _SHORT)
    several: list[Samples] = []
    error: ReflectorError | None = None
    try:
        for block in blocks:
            several.append(block)
            if len(several) == _TOGETHER or not complete():
                yield np.concatenate(several)
                several = []
    except ReflectorError as failure:
        error = failure  # what came before it counts
    if several:
        yield np.concatenate(several)
    if error:
        raise error


def _sample_bytes(seconds: float) -> float:
    """Of so much audio, and of a little more than was asked for."""
    return _SAMPLE_BYTES * SAMPLE_RATE * (seconds + 1)


def _window_bytes(seconds: float) -> float:
    """Of the detector's findings in so much audio."""
    return _sample_bytes(seconds) / WINDOW


def _data(samples: Samples) -> Data:
    return np.ascontiguousarray(samples, np.float32).data.cast("B")
