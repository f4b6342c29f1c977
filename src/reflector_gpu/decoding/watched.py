"""Decoders that are counted while they work, and that say how long they took."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import DecodeTask, StartedDecoders
from reflector_gpu.decoding.messages import Ended, Told
from reflector_gpu.stages import Done, Stage, tell


class WatchedDecoders:
    """Implements `StartedDecoders` with other decoders."""

    def __init__(self, decoders: StartedDecoders) -> None:
        self._decoders = decoders
        self.working = 0
        """How many recordings are decoded now."""

    @property
    def deaths(self) -> int:
        return self._decoders.deaths

    def start(self) -> None:
        self._decoders.start()

    async def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        began = time.monotonic()
        end: Ended | None = None
        self.working += 1
        try:
            async with aclosing(self._decoders.run(task, spool, output)) as told:
                async for message, data in told:
                    if isinstance(message, Ended):
                        end = message
                        _account_for(began, end)
                    yield message, data
        finally:
            self.working -= 1
            if end is None:
                _account_for(began, None)

    async def close(self) -> None:
        await self._decoders.close()


def _account_for(began: float, end: Ended | None) -> None:
    """Tell of the stages; a task without an ``end`` has failed, or nobody waits for it any more."""
    ended = time.monotonic()
    stages: list[tuple[Stage, float]] = [("decode", end.decoding if end else 0.0)]
    if end and end.detecting:
        stages.append(("detect_speech", end.detecting))
    for stage, claimed in stages:
        busy = min(claimed, ended - began)  # a decoder that was taken over may claim anything
        tell(Done(stage=stage, began=began, ended=ended, busy=busy, failed=end is None))
