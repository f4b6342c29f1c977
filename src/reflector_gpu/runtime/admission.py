"""Limits how much work is taken on at once, and tells further requests when to come back.

Live requests and file requests are counted apart: by number, and by the seconds of audio that are
yet to be worked on. Clients are counted apart too, by their keys or their addresses.

Audio can be far longer than its size tells: nine kilobytes of FLAC can be six hours of silence.
Such audio is not counted against other requests, which would be refused because of it. Its own
request fails once more of it has been decoded than the limit allows.

A place is for work. A request whose bytes come slowly keeps its place only as long as nobody else
needs it.

Use it in one event loop. Only `RecordingTally` has methods for threads: `expect` and `decoded`.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from typing import Self

from reflector_gpu.errors import Overloaded, TooLarge
from reflector_gpu.runtime.arrivals import Arrivals
from reflector_gpu.runtime.last_hour import LastHour
from reflector_gpu.runtime.limits import UNLIMITED, Limits, Use, each_client
from reflector_gpu.settings import Settings
from reflector_gpu.types import Priority

_SMOOTHING = 0.2  # weight of the newest request in the average
_FIRST_GUESS = 5.0  # seconds, until a request has been measured
_FADING_SECONDS = 60.0  # work that was done so long ago counts a third of what is done now
_IMPLAUSIBLE_SHARE = 0.25  # of the audio that may wait: an hour of uploads takes seconds to decode
_LONGEST_WAIT = 3600.0
_REMEMBERED = 1000  # clients; when there are more, those that can be forgotten are


class Admission:
    """Permits for requests."""

    def __init__(
        self,
        limits: Mapping[Priority, Limits],
        each_client: Limits = UNLIMITED,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``each_client``: how many requests at once, and seconds of audio in an hour."""
        self._classes = {priority: _RequestClass(limits[priority], clock) for priority in Priority}
        self._each_client = each_client
        self._in_work: Counter[str] = Counter()
        self._used: defaultdict[str, LastHour] = defaultdict(lambda: LastHour(clock))
        self._remembered = _REMEMBERED
        self._elsewhere: Mapping[str, Use] = {}
        self._waiters: set[asyncio.Event] = set()
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits that an operator has set."""
        return cls(
            {
                Priority.LIVE: Limits(settings.live_requests, settings.live_audio_seconds),
                Priority.FILE: Limits(settings.file_requests, settings.file_audio_seconds),
            },
            each_client(settings),
        )

    def taken(self, priority: Priority) -> int:
        """Requests of this class that are being worked on."""
        return self._classes[priority].requests

    def backlog(self, priority: Priority) -> float:
        """Seconds of audio, as far as is known, that these requests have yet to be worked on."""
        return self._classes[priority].backlog

    @contextmanager
    def permit(self, priority: Priority, client: str = "") -> Iterator[Permit]:
        """Hold one place for as long as the request lasts.

        Raises:
            Overloaded: there is no place; ``retry_after`` is when one should become free, judged by
                recent work.
        """
        self.check(priority, client)
        kind = self._classes[priority]
        permit = Permit(kind, self._used[client])
        kind.began(permit)
        self._in_work[client] += 1
        began = self._clock()
        try:
            yield permit
        finally:
            kind.finished(permit, self._clock() - began)
            self._in_work[client] -= 1
            self._forget_idle()
            for waiter in self._waiters:
                waiter.set()

    @asynccontextmanager
    async def patient_permit(
        self, priority: Priority, client: str, seconds: float
    ) -> AsyncIterator[Permit]:
        """`permit` for a request that may wait for a place.

        Raises:
            Overloaded: there was none within ``seconds``.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        freed = asyncio.Event()
        with ExitStack() as held:
            self._waiters.add(freed)
            try:
                permit = None
                while permit is None:
                    freed.clear()
                    try:
                        permit = held.enter_context(self.permit(priority, client))
                    except Overloaded:
                        if loop.time() >= until:
                            raise
                        with suppress(TimeoutError):
                            await asyncio.wait_for(freed.wait(), until - loop.time())
            finally:
                self._waiters.discard(freed)
            yield permit

    def check(self, priority: Priority, client: str) -> None:
        """Raise `Overloaded` unless `permit` would give a place."""
        kind = self._classes[priority]
        kind.check()
        self._check_client(client, kind)

    @property
    def use(self) -> Mapping[str, Use]:
        """What each client has in work here, and has used here in the last hour."""
        known = {name: Use(self._in_work[name], used.seconds) for name, used in self._used.items()}
        return {name: use for name, use in known.items() if use != Use()}

    def used_elsewhere(self, use: Mapping[str, Use]) -> None:
        """Count what clients have in work on other servers, and have used there."""
        self._elsewhere = use

    def _forget_idle(self) -> None:
        """Forget clients that did nothing for an hour, because there may be any number of them."""
        if len(self._in_work) <= self._remembered:
            return
        for client in [name for name, count in self._in_work.items() if not count]:
            if not self._used[client].seconds:
                del self._in_work[client], self._used[client]
        self._remembered = max(_REMEMBERED, 2 * len(self._in_work))

    def _check_client(self, client: str, kind: _RequestClass) -> None:
        limits, elsewhere = self._each_client, self._elsewhere.get(client, Use())
        requests = self._in_work[client] + elsewhere.requests
        if requests >= limits.requests:
            raise Overloaded(
                f"This client has {requests} of {limits.requests:g} requests in work; try again "
                "when one of them is done.",
                retry_after=kind.seconds / limits.requests,
            )
        used = self._used.get(client) or LastHour(self._clock)  # a question leaves nothing behind
        if used.seconds + elsewhere.audio_seconds >= limits.audio_seconds:
            raise Overloaded(
                f"This client has used its {limits.audio_seconds:g} seconds of audio of this hour; "
                "try again later.",
                retry_after=used.until_below(limits.audio_seconds - elsewhere.audio_seconds),
            )


class Permit:
    """One request's place."""

    def __init__(self, kind: _RequestClass, used: LastHour) -> None:
        self._kind = kind
        self._used = used

    def arriving(
        self, received: Callable[[], float], leave: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Use as a context while the request's bytes arrive; ``received`` says how many have. If
        they come slowly, another request may get the place. Then ``leave`` is called, and has to
        end this one.
        """
        return self._kind.arrivals.arriving(self, received, leave)

    @contextmanager
    def recording(self) -> Iterator[RecordingTally]:
        """One of the request's files, for as long as it is worked on."""
        recording = RecordingTally(self._kind, self._used)
        self._kind.add(recording)
        try:
            yield recording
        finally:
            self._kind.remove(recording)
            recording.charge()


class RecordingTally:
    """Seconds of a recording: how many there are, as far as is known, and how many are done.

    Its methods take seconds of the recording. Its properties count each channel that is worked on.
    """

    def __init__(self, kind: _RequestClass, used: LastHour) -> None:
        self._kind = kind
        self._used = used
        self._expected = 0.0
        self._plausible = math.inf
        self._decoded = 0.0
        self._done = 0.0
        self._charged = 0.0
        self._channels = 1

    @property
    def seconds(self) -> float:
        """The audio in it, as far as is known."""
        return self._length * self._channels

    @property
    def backlog(self) -> float:
        """What is yet to be worked on. What its size makes implausible is left out."""
        return max(0.0, min(self._length, self._plausible) - self._done) * self._channels

    @property
    def undone(self) -> float:
        """What has been decoded and is yet to be worked on, however implausible."""
        return max(0.0, self._decoded - self._done) * self._channels

    @property
    def completed(self) -> float:
        """What has been worked on so far."""
        return self._done * self._channels

    @property
    def _length(self) -> float:
        return max(self._expected, self._decoded, self._done)

    def channels(self, count: int) -> None:
        """So many channels are worked on, each as long as the recording."""
        self._channels = count

    def expect(self, seconds: float) -> None:
        """It will be ``seconds`` long. From any thread."""
        self._expected = seconds

    def decoded(self, seconds: float, plausible: float) -> None:
        """The first ``seconds`` have been decoded. From any thread.

        ``plausible`` is how long the bytes that have arrived can be, if they are speech.

        Raises:
            TooLarge, Overloaded: it is longer than that, and than what is taken on at once.
        """
        self._decoded, self._plausible = seconds, plausible
        if seconds > plausible:
            self._kind.check_implausible(self)

    def finish(self) -> None:
        """All of it has been worked on."""
        self.done(self._length)

    def abandon(self) -> None:
        """Nobody waits for it any more. What was decoded of it counts as worked on, though it tells
        nothing about the speed of the work."""
        self._done = max(self._decoded, self._done)

    def done(self, position: float) -> None:
        """Everything before ``position`` has been worked on."""
        new, self._done = max(0.0, position - self._done), max(position, self._done)
        self._kind.progressed(new * self._channels)
        self.charge()

    def charge(self) -> None:
        """Count what has been decoded as used by the client, whatever became of it."""
        paid = self._charged
        self._charged = max(self._decoded, self._done) * self._channels
        self._used.add(self._charged - paid)


class _RequestClass:
    """The live requests, or the others."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.arrivals: Arrivals[Permit] = Arrivals(clock)
        self._places: set[Permit] = set()
        self.seconds = _FIRST_GUESS
        """How long a request takes."""
        self._recordings: set[RecordingTally] = set()
        self._lock = threading.Lock()  # of the set
        self._limits = limits
        self._clock = clock
        self._audio = 0.0
        self._time = 0.0
        self._since = clock()

    @property
    def requests(self) -> int:
        return len(self._places)

    @property
    def backlog(self) -> float:
        with self._lock:
            return sum(recording.backlog for recording in self._recordings)

    def add(self, recording: RecordingTally) -> None:
        with self._lock:
            self._recordings.add(recording)

    def remove(self, recording: RecordingTally) -> None:
        with self._lock:
            self._recordings.remove(recording)

    def check(self) -> None:
        """Raise `Overloaded` unless there is a place, or one whose bytes come slowly."""
        if not self._places:
            self._since = self._clock()  # time without work says nothing about its speed
            return
        backlog = self.backlog
        if self._full and not self.arrivals.slowest():
            raise Overloaded(
                f"The server is working on {self.requests} such requests, which is its limit; "
                "try again later.",
                retry_after=self._wait(self.seconds / self.requests),
            )
        if backlog > self._limits.audio_seconds:
            excess = backlog - self._limits.audio_seconds
            raise Overloaded(
                f"The server has {backlog:.0f} seconds of audio of such requests to work on, and "
                f"its limit is {self._limits.audio_seconds:g}; try again later.",
                retry_after=self._wait(excess / self._rate if self._rate else self.seconds),
            )

    def check_implausible(self, recording: RecordingTally) -> None:
        """
        Raises:
            TooLarge: ``recording`` alone is more than is taken on at once.
            Overloaded: with the others it is.
        """
        limit = self._limits.audio_seconds * _IMPLAUSIBLE_SHARE
        if recording.undone > limit:
            raise TooLarge(
                "The audio is much longer than its size tells, and longer than the "
                f"{limit:g} seconds of such audio that this server takes on.",
                param="file",
            )
        with self._lock:
            total = sum(one.undone for one in self._recordings)
        if total > limit:
            raise Overloaded(
                "The audio is much longer than its size tells, and with that of other requests "
                f"longer than the {limit:g} seconds that this server takes on; try again later.",
                retry_after=self._wait(self.seconds),
                param="file",
            )

    @property
    def _full(self) -> bool:
        return self.requests >= self._limits.requests

    def began(self, permit: Permit) -> None:
        """Give a free place, or else that of a slow request. `check` has seen that there is one."""
        if self._full and (slow := self.arrivals.slowest()):
            self._places.remove(slow.holder)
            self.arrivals.end(slow)
        self._places.add(permit)

    def finished(self, permit: Permit, seconds: float) -> None:
        """A request took ``seconds``."""
        self._places.discard(permit)
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
