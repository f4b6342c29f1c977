"""Cut a recording into chunks of speech that an engine can take, in pauses where there are any.

A chunk holds as many utterances as the engine takes, with the silences between them: recognisers
need context, and a place in a batch costs the same for half a sentence. Long silences are left out.

The first chunks of a stream may be shorter, so that words appear early, and so may all that arrive
as slowly as they are spoken. Each of them ends at the first pause after its scheduled length.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from reflector_gpu.audio.decode import BLOCK_SAMPLES
from reflector_gpu.audio.vad import WINDOW, WINDOW_SECONDS, Hysteresis, VadOptions, VoiceActivity
from reflector_gpu.types import PLAIN, SAMPLE_RATE, Chunk, Samples, Schedule

MIN_CHUNK_SECONDS = 0.5
"""Recognisers misbehave on less. A shorter utterance is extended by the silence after it, or
padded where the recording ends."""

_MIN_SPEECH = 3  # voiced windows (96 ms) in a chunk; a click has fewer
_MIN_CHUNK = math.ceil(MIN_CHUNK_SECONDS / WINDOW_SECONDS)
_PAUSE = math.ceil(0.25 / WINDOW_SECONDS)  # windows; ends an early chunk, in its middle
_AT_ONCE = BLOCK_SAMPLES  # samples to gather, because each call of the detector costs something
_UNLIMITED = 1 << 62  # windows
_FOREVER = 1e6  # seconds; stands for an unlimited length, which cannot be counted in windows
_UNSURE = 5
"""Times the padding: if speech is found so early in a recording, all before it is kept.

The detector needs about a second until it is sure, so it may miss the first words.
"""
_PACE = 1.6
"""Times the pace of speech. What arrives faster has chunks as long as those of a file."""
_SMOOTHING = 3  # windows over which loudness is averaged to find a quiet place


def chunks(
    blocks: Iterable[Samples],
    *,
    max_seconds: float,
    max_gap: float,
    options: VadOptions | None = None,
    schedule: Schedule = PLAIN,
) -> Iterator[Chunk]:
    """Cut a recording's ``blocks`` into speech chunks; the rest is as in `chunker`."""
    cutter = chunker(
        VoiceActivity().probabilities,
        max_seconds=max_seconds,
        max_gap=max_gap,
        options=options or VadOptions(),
        schedule=schedule,
    )
    for block in blocks:
        yield from cutter.push(block)
    yield from cutter.finish()


def chunker(
    detector: Callable[[Samples], Samples],
    *,
    max_seconds: float,
    max_gap: float,
    options: VadOptions,
    schedule: Schedule = PLAIN,
    begin: float = 0.0,
) -> Chunker:
    """What cuts one recording into speech chunks of at most ``max_seconds``.

    ``max_gap`` is the longest silence, in seconds, that is kept inside a chunk. ``detector`` is
    `VoiceActivity.probabilities` for the recording, or does the same. All before ``begin``, where a
    chunk ended, has been cut already.
    """
    return Chunker(
        detector,
        max_seconds=max_seconds,
        max_gap=max_gap if options.silence is None else options.silence,
        threshold=options.threshold,
        padding=options.padding,
        schedule=schedule,
        begin=begin,
    )


class Chunker:
    """Cuts a recording block by block. It counts in the detector's windows, of 32 ms."""

    def __init__(
        self,
        probabilities: Callable[[Samples], Samples],
        *,
        max_seconds: float,
        max_gap: float,
        threshold: float = 0.5,
        padding: float = 0.3,
        schedule: Schedule = PLAIN,
        begin: float = 0.0,
    ) -> None:
        self._probabilities = probabilities
        self._speaks = Hysteresis.around(threshold)
        self._longest = max(_windows(max_seconds), 2 * _MIN_SPEECH)
        self._most = int(min(max_seconds, _FOREVER) * SAMPLE_RATE)  # samples of a chunk
        shortest = max(_MIN_CHUNK, 2 * _MIN_SPEECH)
        early = (max(_windows(seconds), shortest) for seconds in schedule.early_seconds)
        self._early = deque(length for length in early if 2 * length <= self._longest)
        self._earliest_cut = schedule.earliest_cut
        self._patience = schedule.patience
        self._arrivals = deque([(0, 0.0)])  # samples pushed, and seconds waited until then
        self._is_slow = False
        slow = max(_windows(schedule.patience), shortest)
        self._slow = slow if 2 * slow <= self._longest else None
        self._padding = min(_windows(padding), self._longest // 4)
        self._unsure = min(_UNSURE * self._padding, self._longest // 4)
        self._max_gap = max(_windows(max_gap), 1)
        self._begun = math.ceil(round(begin * SAMPLE_RATE) / WINDOW)
        self._rest: Samples = np.zeros(0, np.float32)  # too little to look at yet
        # What is held: audio and decisions from window `_first` on; all before has been sent
        # or dropped. `_speech` is the first voiced window of the chunk that is being filled.
        self._audio: deque[Samples] = deque()
        self._voiced: list[bool] = []
        self._first = 0
        self._speech: int | None = None
        self._seen = 0
        self._length: int | None = None  # samples of the recording, once it has ended
        self._last_voiced = -1

    def push(self, block: Samples, waited: float = 0.0) -> Iterator[Chunk]:
        """Take the next samples of the recording; yield the chunks that are complete.

        ``waited`` is how many seconds the reader has waited for the recording's bytes so far.
        """
        if self._slow:
            self._notice_pace(len(block), waited)
        samples = np.concatenate([self._rest, block]) if len(self._rest) else block
        # More than a window is held back. So a chunk of full length is not cut before it is known
        # whether the recording ends with it.
        whole = (len(samples) - WINDOW - 1) // WINDOW * WINDOW if len(samples) >= _AT_ONCE else 0
        self._rest = samples[whole:]
        if whole:
            yield from self._advance(samples[:whole])

    def _notice_pace(self, samples: int, waited: float) -> None:
        """Decide whether the last seconds arrived about as slowly as they were spoken."""
        pushed = self._arrivals[-1][0] + samples
        self._arrivals.append((pushed, waited))
        while pushed - self._arrivals[0][0] > _PACE * self._patience * SAMPLE_RATE:
            self._arrivals.popleft()
        self._is_slow = waited - self._arrivals[0][1] >= self._patience

    def finish(self) -> Iterator[Chunk]:
        """Yield what is left once the last block has been pushed."""
        surplus = -len(self._rest) % WINDOW
        self._length = self._seen * WINDOW + len(self._rest)
        if len(self._rest):
            yield from self._advance(np.concatenate([self._rest, np.zeros(surplus, np.float32)]))
        if self._speech is not None and (chunk := self._close(self._end(), surplus)):
            yield chunk

    def _advance(self, samples: Samples) -> Iterator[Chunk]:
        self._audio.append(samples)
        decisions = self._speaks.each(self._probabilities(samples))
        if self._seen < self._begun:
            known = min(self._begun - self._seen, len(decisions))
            decisions = decisions[known:]
            self._pass(False, known)
            self._drop_before(self._seen)
        for voiced, count in _runs(decisions):
            last = self._seen + count
            while self._seen < last:
                self._pass(voiced, min(last - self._seen, self._uneventful(voiced)))
                if self._seen < last and (chunk := self._step(voiced)):
                    yield chunk
        if self._speech is None and self._seen > self._unsure:
            self._drop_before(self._seen - self._padding)

    def _uneventful(self, voiced: bool) -> int:
        """How many windows can follow, all ``voiced`` or none, before `_step` may end a chunk."""
        if self._speech is None:
            return 0 if voiced else _UNLIMITED
        short = self._scheduled()
        until = self._begin() + (2 * short if short else self._longest) - 1
        if not voiced:
            gap = min(self._max_gap, _PAUSE) if short else self._max_gap
            until = min(until, self._last_voiced + gap)
        return max(0, until - self._seen)

    def _pass(self, voiced: bool, count: int) -> None:
        """Take ``count`` windows, all ``voiced`` or none."""
        if not count:
            return
        if voiced and self._speech is None:
            self._speech = self._seen
        self._seen += count
        self._voiced += [voiced] * count
        if voiced:
            self._last_voiced = self._seen - 1

    def _step(self, voiced: bool) -> Chunk | None:
        """Take one window, and end the chunk if that is due."""
        self._pass(voiced, 1)
        if self._speech is None:
            return None
        gap = self._seen - 1 - self._last_voiced
        length = self._seen - self._begin()
        if gap >= self._max_gap and length >= _MIN_CHUNK:
            return self._close(self._end())
        if short := self._scheduled():
            return self._close_early(short, length, gap)
        if length >= self._longest and not self._fits_to_the_end():
            paused = gap >= 2 * self._padding > 0
            return self._close(self._end() if paused else self._best_cut(self._earliest_cut))
        return None

    def _scheduled(self) -> int | None:
        """The windows after which the open chunk ends at a pause; None if it is to be long."""
        lengths = (
            self._early[0] if self._early else None,
            self._slow if self._is_slow else None,
        )
        return min(filter(None, lengths), default=None)

    def _close_early(self, scheduled: int, length: int, gap: int) -> Chunk | None:
        """Close a short chunk at a pause after its ``scheduled`` length, or at twice that."""
        if length >= scheduled and gap >= _PAUSE:
            middle = max(self._seen - gap // 2, self._begin() + _MIN_CHUNK)
            return self._close(min(self._end(), middle))
        if length >= 2 * scheduled:  # it may be longer if it only now turns out to be slow
            return self._close(self._best_cut(1 - scheduled / length))
        return None

    def _fits_to_the_end(self) -> bool:
        """Whether the open chunk can take the whole rest of the recording."""
        return self._length is not None and self._length - self._begin() * WINDOW <= self._most

    def _begin(self) -> int:
        """The open chunk's first window."""
        assert self._speech is not None
        if self._speech <= self._unsure:
            return self._first
        return max(self._speech - self._padding, self._first)

    def _end(self) -> int:
        """The window before which the open chunk ends if it is closed in this pause."""
        padded = max(self._last_voiced + 1 + self._padding, self._begin() + _MIN_CHUNK)
        return min(padded, self._seen)

    def _close(self, end: int, surplus: int = 0) -> Chunk | None:
        """End the open chunk before window ``end``; None if it has too little speech.

        The last ``surplus`` samples are padding of the recording, and left off.
        """
        chunk = None
        begin = self._begin()
        if sum(self._voiced[begin - self._first : end - self._first]) >= _MIN_SPEECH:
            samples = self._between(begin, end)
            if end == self._seen:
                samples = samples[: len(samples) - surplus]
            short = int(MIN_CHUNK_SECONDS * SAMPLE_RATE) - len(samples)
            padded = np.pad(samples, (0, short)) if short > 0 else samples
            chunk = Chunk(padded, begin * WINDOW_SECONDS, self._voiced_spans(begin, end))
            if self._early:
                self._early.popleft()
        self._drop_before(end)
        waiting = (i for i, voiced in enumerate(self._voiced) if voiced)
        following = next(waiting, None)
        self._speech = None if following is None else self._first + following
        return chunk

    def _voiced_spans(self, begin: int, end: int) -> tuple[tuple[float, float], ...]:
        """The (start, end) of all speech between two windows, in seconds from the first."""
        decisions = self._voiced[begin - self._first : end - self._first]
        changes = np.flatnonzero(np.diff([False, *decisions, False])) * WINDOW_SECONDS
        return tuple(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))

    def _drop_before(self, window: int) -> None:
        if window <= self._first:
            return
        del self._voiced[: window - self._first]
        surplus = (window - self._first) * WINDOW
        while surplus:
            block = self._audio.popleft()
            if surplus < len(block):
                self._audio.appendleft(block[surplus:])
            surplus -= min(surplus, len(block))
        self._first = window

    def _between(self, begin: int, end: int) -> Samples:
        """The samples from window ``begin`` to before window ``end``."""
        held = np.concatenate(self._audio)
        return held[(begin - self._first) * WINDOW : (end - self._first) * WINDOW]

    def _best_cut(self, earliest_share: float) -> int:
        """The window before which to cut an open chunk that has no pause at its end.

        It is the middle of the longest pause, or else the quietest place. Both are looked for after
        ``earliest_share`` of the chunk.
        """
        begin = self._begin() - self._first
        earliest = begin + int((len(self._voiced) - begin) * earliest_share)
        longest, run, cut = 0, 0, None
        for i in range(earliest, len(self._voiced)):
            run = 0 if self._voiced[i] else run + 1
            if run and run >= longest:
                longest, cut = run, i + 1 - run // 2
        if cut is None:
            # Either side must keep enough speech to be a chunk.
            spoken = (i for i in range(begin, len(self._voiced)) if self._voiced[i])
            earliest = max(earliest, next(islice(spoken, _MIN_SPEECH - 1, None), earliest))
            tail = self._between(self._first + earliest, self._first + len(self._voiced))
            energy = np.square(tail.reshape(-1, WINDOW)).mean(axis=1)
            smooth = np.convolve(energy, np.ones(_SMOOTHING) / _SMOOTHING, mode="same")
            cut = earliest + int(smooth[: max(1, len(smooth) - _MIN_SPEECH)].argmin()) + 1
        return self._first + cut


def _runs(decisions: NDArray[np.bool_]) -> list[tuple[bool, int]]:
    """How often each of ``decisions`` comes in a row, in order."""
    edges = [0, *(np.flatnonzero(np.diff(decisions)) + 1).tolist(), len(decisions)]
    return [(bool(decisions[a]), b - a) for a, b in pairwise(edges) if a < b]


def _windows(seconds: float) -> int:
    return max(0, int(min(seconds, _FOREVER) / WINDOW_SECONDS))
