"""The diarizer inside of this process: its networks, and the threads it works in.

Sessions share it, and so do voices that are remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from reflector_gpu.engines.diarization.base import Pcm, PcmRecording
from reflector_gpu.engines.diarization.pyannet import PyannetDiarizer
from reflector_gpu.engines.diarization.pyannet.voiceprints import Voiceprint
from reflector_gpu.errors import ReflectorError
from reflector_gpu.live.base import LiveSpeakers
from reflector_gpu.live.speakers import ThreadedSpeakers
from reflector_gpu.types import DiarizeOptions, SpeakerTurn

_THREADS = 2


class LiveDiarization:
    """It is always `pyannet`, because the other diarizers need whole recordings.

    Nothing is loaded, and no thread is started, until somebody asks for speakers.
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

    async def turns(self, pcm: Pcm) -> Sequence[SpeakerTurn]:
        """Who speaks in a short recording, after `load`."""

        def work() -> Sequence[SpeakerTurn]:
            (found,) = self._engine.diarize([PcmRecording(pcm)], DiarizeOptions())
            if isinstance(found, ReflectorError):
                raise found
            return found

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def voiceprints(self, pcm: Pcm, turns: Sequence[SpeakerTurn]) -> Mapping[int, Voiceprint]:
        """How each speaker of ``turns`` sounds, after `load`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._engine.voiceprints, pcm, turns)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
