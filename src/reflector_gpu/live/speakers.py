"""Who speaks in a session, found in threads beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol, TypeVar

import numpy as np

from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

T = TypeVar("T")

_PIECE = SAMPLE_RATE  # samples that are worth a thread
_MOST_WAITING = 30 * SAMPLE_RATE  # samples that wait before whoever sends them has to


class Diarizer(Protocol):
    """Tells the speakers of one recording while it goes on. See `pyannet.live`."""

    def push(self, samples: Samples) -> object: ...
    def skip(self, samples: int) -> object: ...
    def speaker(self, start: float, end: float) -> int | None: ...
    def finish(self, options: DiarizeOptions) -> Sequence[SpeakerTurn]: ...


class ThreadedSpeakers:
    """`live.base.LiveSpeakers` by a `Diarizer`, which one thread uses at a time."""

    def __init__(self, make: Callable[[], Diarizer], threads: Executor) -> None:
        """The diarizer is made, and works, in one of ``threads``."""
        self._make = make
        self._threads = threads
        self._diarizer: Diarizer | None = None
        self._fed = 0
        """The samples that the diarizer has."""
        self._waiting: list[tuple[int, Samples]] = []
        self._task: asyncio.Task[None] | None = None
        self._using = asyncio.Lock()
        self._error: ReflectorError | None = None

    def push(self, position: int, samples: Samples) -> None:
        """Take the samples from ``position`` on. What is left out before them is silence."""
        self._waiting.append((position, samples))
        idle = self._task is None or self._task.done()
        if idle and self._waiting_samples >= _PIECE:
            self._task = asyncio.create_task(self._hear_waiting(), name="speakers")

    async def room(self) -> None:
        """Wait while too much audio has not been heard yet."""
        while self._waiting_samples > _MOST_WAITING:
            await self._hear_waiting()

    async def speaker(self, start: float, end: float) -> int | None:
        """Who speaks most of the time between two seconds of the session; None if nobody does.

        Raises:
            ReflectorError: the diarizer failed.
        """
        return await self._used(lambda diarizer: diarizer.speaker(start, end))

    async def corrected(self) -> Sequence[SpeakerTurn]:
        """All turns so far, by all that was heard so far.

        Raises:
            ReflectorError: the diarizer failed.
        """
        return await self._used(lambda diarizer: diarizer.finish(DiarizeOptions()))

    async def aclose(self) -> None:
        """Drop the work."""
        self._waiting.clear()
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def _waiting_samples(self) -> int:
        return sum(len(samples) for _, samples in self._waiting)

    async def _hear_waiting(self) -> None:
        try:
            await self._used(lambda _: None)
        except ReflectorError as error:
            self._error = error  # raised once somebody wants to know

    async def _used(self, use: Callable[[Diarizer], T]) -> T:
        """What ``use`` finds, once everything that was pushed has been heard."""
        if self._error:
            raise self._error
        async with self._using:
            pieces, self._waiting = self._waiting, []

            def work() -> T:
                if self._diarizer is None:
                    self._diarizer = self._make()
                self._feed(self._diarizer, pieces)
                return use(self._diarizer)

            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _feed(self, diarizer: Diarizer, pieces: Sequence[tuple[int, Samples]]) -> None:
        run: list[Samples] = []
        for position, samples in pieces:
            if position > self._fed:
                if run:
                    diarizer.push(np.concatenate(run))
                    run = []
                diarizer.skip(position - self._fed)
                self._fed = position
            new = samples[max(0, self._fed - position) :]
            run.append(new)
            self._fed += len(new)
        if run:
            diarizer.push(np.concatenate(run))
