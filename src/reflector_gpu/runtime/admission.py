"""How much work is taken on at once; what goes beyond is told when to come back.

Live and file requests are counted apart, by number and by seconds of audio that are yet to be
worked on; clients are counted apart, by their keys or their addresses. For one event loop.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from reflector_gpu.errors import Overloaded
from reflector_gpu.types import Priority

_SMOOTHING = 0.2  # weight of the newest request in the average
_FIRST_GUESS = 5.0  # seconds, until a request has been measured
_FADING_SECONDS = 60.0  # work that was done so long ago counts a third of what is done now
_LONGEST_WAIT = 3600.0
_HOUR = 3600.0
_REMEMBERED = 1000  # clients; when there are more, those that can be forgotten are


@dataclass(frozen=True, slots=True)
class Limits:
    """What a class of requests, or a client, may have in work."""

    requests: float = math.inf
    audio_seconds: float = math.inf


class Admission:
    """Permits for requests."""

    def __init__(
        self,
        limits: Mapping[Priority, Limits],
        each_client: Limits = Limits(),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``each_client``: requests in work at once, and seconds of audio in an hour."""
        self._classes = {priority: _Class(limits[priority], clock) for priority in Priority}
        self._each_client = each_client
        self._in_work: Counter[str] = Counter()
        self._used: defaultdict[str, _LastHour] = defaultdict(lambda: _LastHour(clock))
        self._remembered = _REMEMBERED
        self._clock = clock

    def taken(self, priority: Priority) -> int:
        """Requests of this class that are being worked on."""
        return len(self._classes[priority].permits)

    def backlog(self, priority: Priority) -> float:
        """Seconds of audio that these requests are known to have yet to be worked on."""
        return self._classes[priority].backlog

    @contextmanager
    def permit(self, priority: Priority, client: str = "") -> Iterator[Permit]:
        """Hold one place for as long as the request lasts.

        Raises:
            Overloaded: there is no place; ``retry_after`` is when one should become free, judged
                by what was done of late.
        """
        kind = self._classes[priority]
        kind.check()
        self._check_client(client, kind)
        permit = Permit(kind.progressed, self._used[client].add)
        kind.permits.add(permit)
        self._in_work[client] += 1
        began = self._clock()
        try:
            yield permit
        finally:
            kind.permits.remove(permit)
            kind.finished(self._clock() - began)
            self._in_work[client] -= 1
            self._forget_idle()

    def _forget_idle(self) -> None:
        """Drop what is known of clients that did nothing for an hour: there is no end of names."""
        if len(self._in_work) <= self._remembered:
            return
        for client in [name for name, count in self._in_work.items() if not count]:
            if not self._used[client].seconds:
                del self._in_work[client], self._used[client]
        self._remembered = max(_REMEMBERED, 2 * len(self._in_work))

    def _check_client(self, client: str, kind: _Class) -> None:
        limits = self._each_client
        if self._in_work[client] >= limits.requests:
            raise Overloaded(
                f"This client has {self._in_work[client]} of {limits.requests:g} requests in work.",
                retry_after=kind.seconds / limits.requests,
            )
        used = self._used[client]
        if used.seconds >= limits.audio_seconds:
            raise Overloaded(
                f"This client has used its {limits.audio_seconds:g} seconds of audio of this hour.",
                retry_after=used.until_below(limits.audio_seconds),
            )


class Permit:
    """One request's place, and what it has in work."""

    def __init__(self, *listeners: Callable[[float], None]) -> None:
        """``listeners`` are told of seconds of audio that have been worked on."""
        self._listeners = listeners
        self._recordings: set[Recording] = set()

    @property
    def backlog(self) -> float:
        return sum(recording.backlog for recording in self._recordings)

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """One of the request's files, for as long as it is worked on."""
        recording = Recording(self._listeners)
        self._recordings.add(recording)
        try:
            yield recording
        finally:
            self._recordings.remove(recording)


class Recording:
    """How long it is, as far as is known, and how much of it is done. Seconds of audio."""

    def __init__(self, listeners: tuple[Callable[[float], None], ...]) -> None:
        self._listeners = listeners
        self._expected = 0.0
        self._done = 0.0

    @property
    def seconds(self) -> float:
        """How long it is, as far as is known."""
        return max(self._expected, self._done)

    @property
    def backlog(self) -> float:
        return max(0.0, self._expected - self._done)

    def expect(self, seconds: float) -> None:
        """It will be ``seconds`` long. From any thread."""
        self._expected = seconds

    def finish(self) -> None:
        """All of it has been worked on."""
        self.done(self._expected)

    def done(self, position: float) -> None:
        """Everything before ``position`` has been worked on."""
        new, self._done = max(0.0, position - self._done), max(position, self._done)
        for listener in self._listeners:
            listener(new)


class _Class:
    """The live requests, or the others."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.permits: set[Permit] = set()
        self.seconds = _FIRST_GUESS
        self._limits = limits
        self._clock = clock
        self._audio = 0.0
        self._time = 0.0
        self._since = clock()

    @property
    def backlog(self) -> float:
        return sum(permit.backlog for permit in self.permits)

    def check(self) -> None:
        """Raise `Overloaded` unless there is a place."""
        if not self.permits:
            self._since = self._clock()  # time without work says nothing about its speed
            return
        count, backlog = len(self.permits), self.backlog
        if count >= self._limits.requests:
            raise Overloaded(
                f"The server is working on {count} such requests, which is its limit; "
                "try again later.",
                retry_after=self._wait(self.seconds / count),
            )
        if backlog > self._limits.audio_seconds:
            excess = backlog - self._limits.audio_seconds
            raise Overloaded(
                f"The server has {backlog:.0f} seconds of audio of such requests to work on, and "
                f"its limit is {self._limits.audio_seconds:g}; try again later.",
                retry_after=self._wait(excess / self._rate if self._rate else self.seconds),
            )

    def finished(self, seconds: float) -> None:
        """A request took ``seconds``."""
        self.seconds += _SMOOTHING * (seconds - self.seconds)

    def progressed(self, audio_seconds: float) -> None:
        now = self._clock()
        passed, self._since = now - self._since, now
        kept = math.exp(-passed / _FADING_SECONDS)
        self._audio = self._audio * kept + audio_seconds
        self._time = self._time * kept + passed

    @property
    def _rate(self) -> float:
        """Seconds of audio that are worked on in a second."""
        return self._audio / self._time if self._time else 0.0

    def _wait(self, seconds: float) -> float:
        return min(max(1.0, seconds), _LONGEST_WAIT)


class _LastHour:
    """What a client has used, minute by minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minutes: deque[tuple[float, float]] = deque()

    @property
    def seconds(self) -> float:
        while self._minutes and self._minutes[0][0] <= self._clock() - _HOUR:
            self._minutes.popleft()
        return sum(seconds for _, seconds in self._minutes)

    def add(self, seconds: float) -> None:
        minute = self._clock() // 60 * 60
        if self._minutes and self._minutes[-1][0] == minute:
            seconds += self._minutes.pop()[1]
        if seconds:
            self._minutes.append((minute, seconds))

    def until_below(self, limit: float) -> float:
        """Seconds until less than ``limit`` has been used within an hour."""
        left = self.seconds
        for minute, seconds in self._minutes:
            left -= seconds
            if left < limit:
                return max(1.0, minute + _HOUR - self._clock())
        return 1.0
