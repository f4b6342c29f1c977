"""Who speaks in a session, found in threads beside the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol, TypeVar

import numpy as np

from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PIECE = SAMPLE_RATE  # samples that are worth a thread
_MOST_WAITING = 30 * SAMPLE_RATE  # samples that wait; with more, the sender has to wait


class StreamingDiarizer(Protocol):
    """Tells the speakers of one recording while it goes on. See `pyannet.live`."""

    def push(self, samples: Samples) -> object: ...
    def skip(self, samples: int) -> object: ...
    def speaker(self, start: float, end: float) -> int | None: ...
    def finish(self, options: DiarizeOptions) -> Sequence[SpeakerTurn]: ...


class ThreadedSpeakers:
    """`live.base.LiveSpeakers` by a `StreamingDiarizer`, which one thread uses at a time.

    Once the diarizer has failed, audio is dropped, and every question raises the failure.
    """

    def __init__(self, make: Callable[[], StreamingDiarizer], threads: Executor) -> None:
        """The diarizer is made, and works, in one of ``threads``."""
        self._make = make
        self._threads = threads
        self._diarizer: StreamingDiarizer | None = None
        self._fed = 0
        """The samples that the diarizer has."""
        self._waiting: list[tuple[int, Samples]] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._using = asyncio.Lock()
        self._error: ReflectorError | None = None

    def push(self, position: int, samples: Samples) -> None:
        """Take the samples from ``position`` on. What is left out before them is silence."""
        if self._error:
            return
        self._waiting.append((position, samples))
        if not self._tasks and self._waiting_samples >= _PIECE:
            self._begin(lambda _: None)

    async def room(self) -> None:
        """Wait while too much audio has not been heard yet."""
        while not self._error and self._waiting_samples > _MOST_WAITING:
            await asyncio.wait({self._begin(lambda _: None)})

    async def speaker(self, start: float, end: float) -> int | None:
        """Who speaks most of the time between two seconds of the session; None if nobody does.

        Raises:
            ReflectorError: the diarizer failed.
        """
        return await self._used(lambda diarizer: diarizer.speaker(start, end))

    async def corrected(self, use: Callable[[Sequence[SpeakerTurn]], T]) -> T:
        """What ``use`` makes, in a thread, of all turns, corrected by what was heard after them.

        Raises:
            ReflectorError: the diarizer failed.
        """
        return await self._used(lambda diarizer: use(diarizer.finish(DiarizeOptions())))

    async def aclose(self) -> None:
        """Drop the work. A thread that is at it ends by itself."""
        self._waiting.clear()
        self._error = self._error or EngineFailed("The session has ended.")
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _waiting_samples(self) -> int:
        return sum(len(samples) for _, samples in self._waiting)

    async def _used(self, use: Callable[[StreamingDiarizer], T]) -> T:
        # A caller who leaves does not end the work: it goes on with the audio that others need.
        found = await asyncio.shield(self._begin(use))
        if isinstance(found, ReflectorError):
            raise found
        return found

    def _begin(self, use: Callable[[StreamingDiarizer], T]) -> asyncio.Task[T | ReflectorError]:
        """Have everything that was pushed heard, and then ``use`` the diarizer."""
        task = asyncio.create_task(self._work(use), name="speakers")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _work(self, use: Callable[[StreamingDiarizer], T]) -> T | ReflectorError:
        """What ``use`` finds, or why it finds nothing."""
        async with self._using:
            if self._error:
                return self._error
            pieces, self._waiting = self._waiting, []

            def work() -> T:
                if self._diarizer is None:
                    self._diarizer = self._make()
                self._feed(self._diarizer, pieces)
                return use(self._diarizer)

            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
            except ReflectorError as error:
                self._error = error
            except Exception:  # a bug of ours, or the server stops; the words come anyway
                logger.exception("the speakers of a session cannot be told apart")
                self._error = EngineFailed("The server failed to tell speakers apart.")
            self._waiting.clear()
            return self._error

    def _feed(self, diarizer: StreamingDiarizer, pieces: Sequence[tuple[int, Samples]]) -> None:
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
