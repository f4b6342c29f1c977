"""The diarizer of sessions: its networks, which all of them share, and the threads it works in."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from reflector_gpu.engines.diarization.pyannet import PyannetDiarizer
from reflector_gpu.live.base import LiveSpeakers
from reflector_gpu.live.speakers import ThreadedSpeakers

_THREADS = 2


class LiveDiarization:
    """It is `pyannet` whatever the diarizer of recordings is: others cannot do it.

    Nothing is loaded, and no thread is started, until a session asks for speakers.
    """

    def __init__(self) -> None:
        self._engine = PyannetDiarizer()
        self._loading: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="speakers")

    async def load(self) -> None:
        """Load the networks, unless that has been done.

        Raises:
            ModelNotInstalled: they cannot be used here.
        """
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.create_task(asyncio.to_thread(self._engine.load))
        await asyncio.shield(self._loading)

    def speakers(self) -> LiveSpeakers:
        """For one session, after `load`."""
        return ThreadedSpeakers(self._engine.live, self._threads)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
