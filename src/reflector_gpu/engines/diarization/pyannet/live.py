"""Who speaks in a recording that goes on: labels while it does, corrected at its end.

Each window is heard once, as soon as it has been recorded. Then all voices so far are clustered
anew, less and less often, and people keep the numbers that most of their voices had (`company`). So
a wrong label is corrected for what follows, and at the end for everything.

What is kept of the past is what was heard in the last two hours, five megabytes an hour, and the
turns before that.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby, islice

import numpy as np

from reflector_gpu.engines.diarization.pyannet.clustering import Vectors, assigned
from reflector_gpu.engines.diarization.pyannet.company import Company, matched
from reflector_gpu.engines.diarization.pyannet.mel import MARGIN
from reflector_gpu.engines.diarization.pyannet.networks import (
    SHIFT,
    STEP,
    WINDOW,
    Heard,
    Networks,
    Voice,
)
from reflector_gpu.engines.diarization.pyannet.timeline import Windows, turns_of, unknown
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

_HOP = STEP * SHIFT
_SETTLED = -(-WINDOW // _HOP)
"""The number of windows that hear the same moment. Earlier windows know nothing of it."""

_MOST_WINDOWS = 4800
"""Windows that can still be corrected: two hours of speech."""

_MOST_TURNS = 4000
"""Older turns that are kept, and not corrected any more."""

_JOINED = 0.1  # seconds between two parts of a turn, at most
_NEAR = 1.0  # seconds from a turn in which words may still belong to it
_LONGEST = 60.0  # seconds by which a turn may have begun before one that it outlasts


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """What was heard, and the people who are its speakers."""

    number: int
    heard: Heard
    people: tuple[tuple[Voice, int], ...]


class LiveDiarizer:
    """Takes the samples of one recording as they are recorded."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._pending: Samples = np.zeros(MARGIN, np.float32)
        self._received = 0
        self._heard = 0  # windows
        self._recent: deque[_Window] = deque(maxlen=_SETTLED - 1)
        self._windows: deque[_Window] = deque(maxlen=_MOST_WINDOWS)
        self._company = Company()
        self._told: deque[SpeakerTurn] = deque(maxlen=_MOST_TURNS)
        self._until = 0.0

    def push(self, samples: Samples) -> list[SpeakerTurn]:
        """The turns in what has newly been heard, up to five seconds behind.

        A turn that goes on comes in parts. A speaker's number stays.
        """
        self._received += len(samples)
        self._pending = np.concatenate([self._pending, samples])
        found: list[SpeakerTurn] = []
        while len(self._pending) >= WINDOW + 2 * MARGIN:
            found += self._hear()
        return found

    def skip(self, samples: int) -> list[SpeakerTurn]:
        """The same for ``samples`` of silence, any number of which cost nothing."""
        silent = min(samples, WINDOW + _HOP + 2 * MARGIN)
        found = self.push(np.zeros(silent, np.float32))
        hops = (samples - silent) // _HOP
        if hops > 0:
            self._heard += hops
            self._received += hops * _HOP
            self._recent.clear()
            self._until = max(self._until, self._heard * _HOP / SAMPLE_RATE)
        rest = samples - silent - max(0, hops) * _HOP
        return found + (self.push(np.zeros(rest, np.float32)) if rest > 0 else [])

    def rest(self) -> list[SpeakerTurn]:
        """The turns in what was not heard yet. Nothing may be pushed after that."""
        if self._heard and (self._heard - 1) * _HOP + WINDOW >= self._received:
            return []
        self._pending = np.pad(self._pending, (0, WINDOW + 2 * MARGIN))
        return self._hear()

    def speaker(self, start: float, end: float) -> int | None:
        """Who speaks most of the time from ``start`` to ``end``, or nearest to it; if anybody does.

        What was not heard yet is heard for this, as far as it has been recorded.
        """
        turns = [turn for turn in self._told if turn.end > start - _NEAR]
        if end > self._until and self._received > self._until * SAMPLE_RATE:
            turns += self._glimpse()
        spoken: Counter[int] = Counter()
        for turn in turns:
            common = min(turn.end, end) - max(turn.start, start)
            if common > -_NEAR:
                spoken[turn.speaker] = max(spoken[turn.speaker], 0) + round(common * SAMPLE_RATE)
        return max(spoken, key=lambda who: spoken[who], default=None)

    def finish(self, options: DiarizeOptions) -> list[SpeakerTurn]:
        """All turns, corrected by all that was heard.

        People keep their numbers where they can. More may be pushed after that.
        """
        if not self._windows:
            return list(self._told)
        found = self._corrected(options)
        number = _kept(found, self._told, self._company.count)
        begin = self._windows[0].number * _HOP / SAMPLE_RATE
        before = [turn for turn in self._told if turn.end <= begin]
        return before + [replace(turn, speaker=number[turn.speaker]) for turn in found]

    def _corrected(self, options: DiarizeOptions) -> list[SpeakerTurn]:
        """The turns of the windows that are kept, with the numbers of people as clustered anew."""
        centroids = self._company.corrected(options)
        together = 1 if options.exclusive else options.most
        found: list[SpeakerTurn] = []
        for run in _runs(self._windows):
            windows, person = Windows(), unknown(len(run))
            for place, window in enumerate(run):
                windows.append(window.heard)
                for voice, who in _whose(window.heard.voices, centroids):
                    person[place, voice.speaker] = who
            offset = run[0].number * _HOP / SAMPLE_RATE
            end = min(run[-1].number * _HOP + WINDOW, self._received) / SAMPLE_RATE
            found += [
                replace(turn, start=turn.start + offset, end=turn.end + offset)
                for turn in turns_of(windows, person, len(centroids), end - offset, together)
            ]
        return found

    def _hear(self) -> list[SpeakerTurn]:
        """Hear the window that pending samples begin with."""
        heard = self._networks.hear(self._pending[: WINDOW + 2 * MARGIN], 1)
        self._pending = self._pending[_HOP:]
        self._heard += 1
        numbers = self._company.numbers(heard.voices) if heard.voices else []
        people = tuple(zip(heard.voices, numbers, strict=True))
        window = _Window(self._heard - 1, heard, people)
        found = self._new_turns(window)
        self._recent.append(window)
        self._windows.append(window)
        self._until = min(window.number * _HOP + WINDOW, self._received) / SAMPLE_RATE
        for turn in found:
            _join(self._told, turn)
        return found

    def _glimpse(self) -> list[SpeakerTurn]:
        """The turns in what was not heard yet, which will be heard again once there is more."""
        padded = np.pad(self._pending, (0, WINDOW + 2 * MARGIN))[: WINDOW + 2 * MARGIN]
        heard = self._networks.hear(padded, 1)
        numbers = self._company.recognised(heard.voices) if heard.voices else []
        people = tuple(zip(heard.voices, numbers, strict=True))
        return self._new_turns(_Window(self._heard, heard, people))

    def _new_turns(self, last: _Window) -> list[SpeakerTurn]:
        """The turns that the ``last`` window and those before it show in what was not covered
        yet."""
        end = min(last.number * _HOP + WINDOW, self._received) / SAMPLE_RATE
        windows, person = Windows(), unknown(len(self._recent) + 1)
        for place, window in enumerate([*self._recent, last]):
            windows.append(window.heard)
            for voice, who in window.people:
                person[place, voice.speaker] = who
        offset = (last.number - len(self._recent)) * _HOP / SAMPLE_RATE
        people = max(self._company.count, int(person.max()) + 1)
        return [
            SpeakerTurn(max(turn.start + offset, self._until), turn.end + offset, turn.speaker)
            for turn in turns_of(windows, person, people, end - offset)
            if turn.end + offset > self._until
        ]


def _runs(windows: Iterable[_Window]) -> Iterator[list[_Window]]:
    """``windows`` without gaps between them: number and place differ by the same in each run."""
    placed = enumerate(windows)
    for _, run in groupby(placed, lambda pair: pair[1].number - pair[0]):
        yield [window for _, window in run]


def _whose(voices: Sequence[Voice], centroids: Vectors) -> list[tuple[Voice, int]]:
    """The voices of one window, each with the person that it is most like."""
    if not voices or not len(centroids):
        return []
    vectors = np.stack([one.vector for one in voices]).astype(np.float32)
    return list(zip(voices, assigned(vectors @ centroids.T).tolist(), strict=True))


def _join(turns: deque[SpeakerTurn], turn: SpeakerTurn) -> None:
    """Add ``turn``, or make the speaker's last one longer if it goes on."""
    for place in range(len(turns) - 1, max(-1, len(turns) - 5), -1):
        if turns[place].speaker == turn.speaker:
            if turn.start - turns[place].end > _JOINED:
                break
            turns[place] = replace(turns[place], end=max(turn.end, turns[place].end))
            return
    turns.append(turn)


def _kept(
    found: Sequence[SpeakerTurn], told: Sequence[SpeakerTurn], unused: int
) -> Mapping[int, int]:
    """The numbers that the people ``found`` had in what was ``told``, or else ``unused`` ones."""
    shared: Counter[tuple[int, int]] = Counter()
    first = 0
    for turn in found:
        while first < len(told) and told[first].end + _LONGEST < turn.start:
            first += 1
        for other in islice(told, first, None):
            if other.start > turn.end:
                break
            common = min(turn.end, other.end) - max(turn.start, other.start)
            if common > 0:
                shared[turn.speaker, other.speaker] += round(common * SAMPLE_RATE)
    number = matched(shared)
    new = count(unused)
    for turn in found:
        if turn.speaker not in number:
            number[turn.speaker] = next(new)
    return number
