"""Who speaks in a recording that goes on: labels while it does, corrected at its end.

Each window is heard once, as soon as it has been recorded. Then all voices so far are clustered
anew, less and less often, and people keep the numbers that most of their voices had (`company`). So
a wrong label is put right for what follows, and at the end for what was told.

What is kept of the past are the turns, and how they sounded: about a megabyte an hour, of the last
hours.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from reflector_gpu.engines.diarization.pyannet.company import Company, matched
from reflector_gpu.engines.diarization.pyannet.mel import MARGIN
from reflector_gpu.engines.diarization.pyannet.networks import (
    DIMENSIONS,
    SHIFT,
    STEP,
    WINDOW,
    Heard,
    Networks,
    Voice,
)
from reflector_gpu.engines.diarization.pyannet.timeline import Windows, turns_of
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

_HOP = STEP * SHIFT
_SETTLED = -(-WINDOW // _HOP)
"""Windows that hear a moment together: an earlier one tells nothing new of the last."""

_MOST_TURNS = 4000
"""Turns that can still be corrected."""

_JOINED = 0.1  # seconds between two parts of a turn, at most
_NEAR = 1.0  # seconds from a turn in which words may still belong to it


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """What was heard, and the people who are its speakers."""

    heard: Heard
    people: tuple[tuple[Voice, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """A turn, and the sum of the voices in it."""

    turn: SpeakerTurn
    voice: npt.NDArray[np.float16]


class LiveDiarizer:
    """Takes the samples of one recording as they are recorded."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._pending: Samples = np.zeros(MARGIN, np.float32)
        self._received = 0
        self._heard = 0  # windows
        self._recent: deque[_Window] = deque(maxlen=_SETTLED - 1)
        self._company = Company()
        self._told: deque[_Told] = deque(maxlen=_MOST_TURNS)
        self._until = 0.0

    def push(self, samples: Samples) -> list[SpeakerTurn]:
        """The turns in what has newly been heard, up to five seconds behind.

        A turn that goes on is told in parts. A speaker's number stays.
        """
        self._received += len(samples)
        self._pending = np.concatenate([self._pending, samples])
        found: list[SpeakerTurn] = []
        while len(self._pending) >= WINDOW + 2 * MARGIN:
            found += self._hear()
        return found

    def skip(self, samples: int) -> list[SpeakerTurn]:
        """The same for so many ``samples`` of silence, which cost nothing however many they are."""
        found: list[SpeakerTurn] = []
        silent = min(samples, WINDOW + _HOP + 2 * MARGIN)
        found += self.push(np.zeros(silent, np.float32))
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
        turns = [one.turn for one in self._told if one.turn.end > start - _NEAR]
        if end > self._until and self._received > self._until * SAMPLE_RATE:
            turns += self._glimpse()
        spoken: Counter[int] = Counter()
        for turn in turns:
            common = min(turn.end, end) - max(turn.start, start)
            if common > -_NEAR:
                spoken[turn.speaker] = max(spoken[turn.speaker], 0) + round(common * SAMPLE_RATE)
        return max(spoken, key=lambda who: spoken[who], default=None)

    def finish(self, options: DiarizeOptions) -> list[SpeakerTurn]:
        """All turns that were told, corrected by all that was heard.

        People keep their numbers where they can. More may be pushed after that, but not after
        `rest`.
        """
        centroids = self._company.corrected(options)
        if not len(centroids):
            return [one.turn for one in self._told]
        whose = [
            int((one.voice.astype(np.float32) @ centroids.T).argmax()) if one.voice.any() else None
            for one in self._told
        ]
        shared: Counter[tuple[int, int]] = Counter()
        for who, one in zip(whose, self._told, strict=True):
            if who is not None:
                seconds = one.turn.end - one.turn.start
                shared[who, one.turn.speaker] += round(seconds * SAMPLE_RATE)
        number = matched(shared)
        unused = (n for n in count(self._company.count) if n not in number.values())
        found: list[SpeakerTurn] = []
        for who, one in zip(whose, self._told, strict=True):
            if who is not None and who not in number:
                number[who] = next(unused)
            speaker = one.turn.speaker if who is None else number[who]
            _joined(found, replace(one.turn, speaker=speaker))
        return found

    def _hear(self) -> list[SpeakerTurn]:
        """Hear the window that pending samples begin with."""
        heard = self._networks.hear(self._pending[: WINDOW + 2 * MARGIN], 1)
        self._pending = self._pending[_HOP:]
        self._heard += 1
        numbers = self._company.numbers(heard.voices) if heard.voices else []
        window = _Window(heard, tuple(zip(heard.voices, numbers, strict=True)))
        found = self._new_turns(window, self._heard - 1)
        self._recent.append(window)
        self._until = min((self._heard - 1) * _HOP + WINDOW, self._received) / SAMPLE_RATE
        for turn in found:
            self._tell(turn, window)
        return found

    def _glimpse(self) -> list[SpeakerTurn]:
        """The turns in what was not heard yet, which will be heard again once there is more."""
        padded = np.pad(self._pending, (0, WINDOW + 2 * MARGIN))[: WINDOW + 2 * MARGIN]
        heard = self._networks.hear(padded, 1)
        numbers = self._company.recognised(heard.voices) if heard.voices else []
        window = _Window(heard, tuple(zip(heard.voices, numbers, strict=True)))
        return self._new_turns(window, self._heard)

    def _new_turns(self, last: _Window, number: int) -> list[SpeakerTurn]:
        """What window ``number`` tells, with those before it, of the time that was not told."""
        end = min(number * _HOP + WINDOW, self._received) / SAMPLE_RATE
        windows, person = Windows(), dict[tuple[int, int], int]()
        for place, window in enumerate([*self._recent, last]):
            windows.append(window.heard)
            person |= {(place, voice.speaker): who for voice, who in window.people}
        offset = (number - len(self._recent)) * _HOP / SAMPLE_RATE
        people = max([self._company.count, *(who + 1 for who in person.values())])
        return [
            SpeakerTurn(max(turn.start + offset, self._until), turn.end + offset, turn.speaker)
            for turn in turns_of(windows, person, people, end - offset)
            if turn.end + offset > self._until
        ]

    def _tell(self, turn: SpeakerTurn, window: _Window) -> None:
        voice = sum(
            (one.vector for one, who in window.people if who == turn.speaker),
            np.zeros(DIMENSIONS, np.float16),
        )
        for place in range(len(self._told) - 1, max(-1, len(self._told) - 5), -1):
            before = self._told[place]
            if before.turn.speaker == turn.speaker:
                if turn.start - before.turn.end > _JOINED:
                    break
                whole = replace(before.turn, end=max(turn.end, before.turn.end))
                self._told[place] = _Told(whole, before.voice + voice)
                return
        self._told.append(_Told(turn, voice))


def _joined(turns: list[SpeakerTurn], turn: SpeakerTurn) -> None:
    """Add ``turn``, or make the speaker's last one longer if it goes on."""
    for place in range(len(turns) - 1, max(-1, len(turns) - 5), -1):
        if turns[place].speaker == turn.speaker and turn.start - turns[place].end <= _JOINED:
            turns[place] = replace(turns[place], end=max(turn.end, turns[place].end))
            return
    turns.append(turn)
