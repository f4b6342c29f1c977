"""A recording as chunks of speech, which decoders cut before they are asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing

import numpy as np

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import Decoders, DecodeTask
from reflector_gpu.decoding.messages import Claimed, Cut, Data, Ended, Passed
from reflector_gpu.pipeline.tally import Tally
from reflector_gpu.types import SAMPLE_RATE, SOUND, Chunk

_AHEAD = 2  # chunks in memory that nobody has taken
_UNBOUNDED = 2**31  # chunks that lie on disk, a few bytes each


class Reading:
    """Decodes one recording. It must be closed."""

    def __init__(
        self,
        decoders: Decoders,
        task: DecodeTask,
        spool: Spool,
        tally: Tally,
        recorder: Recorder | None,
    ) -> None:
        """``tally`` is told how long the recording is; ``recorder`` keeps it."""
        self.news = asyncio.Event()
        """Set whenever there may be more to take."""
        self.seconds = 0.0
        """The seconds of the recording that are decoded so far."""
        self.claimed = 0.0
        """The seconds that the recording claims to have, an estimate; 0 until it says so."""
        self.condition = SOUND
        """The condition of the recording; complete once it has ended."""
        self._spool = spool
        self._tally = tally
        self._recorder = recorder
        self._cut: deque[tuple[Cut, Data]] = deque()
        self._room = asyncio.Semaphore(_UNBOUNDED if recorder else _AHEAD)
        self._error: Exception | None = None
        self._decoding = asyncio.create_task(self._decode(decoders, task))

    @property
    def ended(self) -> bool:
        """Whether everything has been taken, and no error is left to raise."""
        return self._decoding.done() and self._error is None and not self._cut

    def taken(self) -> Chunk | None:
        """The next chunk, or None if there is none yet. Raises the error that ended them."""
        if not self._cut:
            if self._error:
                raise self._error
            return None
        self._room.release()
        cut, data = self._cut.popleft()
        first = round(cut.start * SAMPLE_RATE)
        samples = (
            self._recorder.read(first, first + cut.length)
            if self._recorder
            else np.frombuffer(data, np.float32)
        )
        return Chunk(samples, cut.start, cut.voiced)

    async def aclose(self) -> None:
        """End the work at once."""
        if self._decoding.cancel():  # it has not ended by itself
            await asyncio.gather(self._decoding, return_exceptions=True)

    async def _decode(self, decoders: Decoders, task: DecodeTask) -> None:
        output = self._recorder.pcm if self._recorder else None
        try:
            async with aclosing(decoders.run(task, self._spool, output)) as told:
                async for message, data in told:
                    if isinstance(message, Claimed):
                        self.claimed = message.seconds
                        self._tally.expect(message.seconds)
                    elif isinstance(message, Cut):
                        self._passed(message.seconds)
                        await self._room.acquire()
                        self._cut.append((message, data))
                        self.news.set()
                    elif isinstance(message, Passed):
                        self._passed(message.seconds)
                    elif isinstance(message, Ended):
                        self._passed(message.seconds)
                        self._tally.expect(message.seconds)
                        self.condition = message.condition
                        if self._recorder:
                            self._recorder.settle(np.frombuffer(data, np.float32))
        except Exception as error:  # noqa: BLE001  it is raised in whoever takes the chunks
            self._error = error
            if self._recorder:
                self._recorder.fail(error)
        finally:
            # Runs once this task is done, because `ended` is not true until then.
            asyncio.get_running_loop().call_soon(self.news.set)

    def _passed(self, seconds: float) -> None:
        self.seconds = seconds
        self._tally.decoded(seconds, self._spool.plausible_seconds)
