"""Transcription inside this command, with worker processes of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from reflector_gpu.audio.spool import Spool
from reflector_gpu.cli.sources import Report, Source
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.weights import size
from reflector_gpu.errors import EngineLoading
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import RecordingParameters
from reflector_gpu.settings import Settings
from reflector_gpu.types import Priority, Recognition, Samples

_POLL_SECONDS = 0.05
_MOST_TOGETHER = 8  # bounds the chunks in memory on machines with many cores


class LocalRecogniser:
    """One `Service` for all recordings of a command."""

    def __init__(self, parameters: RecordingParameters, settings: Settings) -> None:
        """Check everything that can be checked before the first recording.

        Weights that may be downloaded are, with a bar.

        Raises:
            ReflectorError: the settings, the model or the language do not work.
        """
        self._service = Service(settings)
        chosen = self._service.resolve(parameters.model, parameters.options())
        needed: list[AnyModel] = [chosen]
        if self._service.speakers(parameters) is not None:
            needed.append(self._service.diarizer)
        if parameters.translate_to:
            needed += self._service.translations.models
        for model in needed:
            if model.weights and self._service.may_download(model):
                megabytes = size(model.weights.megabytes)
                sys.stderr.write(f"Downloading {model.name}: {megabytes}, once\n")
                model.weights.pull(settings.weights_sources)
        self._voices = parameters.voices
        self._request = self._service.request(
            chosen,
            parameters,
            priority=Priority.FILE,
            streamed=True,  # as a server does it for this command: both write the same
        )

    @property
    def together(self) -> int:
        return min(_MOST_TOGETHER, 1 + self._pool.workers)

    @property
    def _pool(self) -> Pool[Samples, Recognition]:
        return self._service.workers.pool(self._request.model)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the model in the background, and leave no process behind."""
        request, translations = self._request, self._service.translations
        if request.translate_to:
            await translations.check_target(request.written, request.translate_to)
        self._pool.start()
        try:
            voices = await self._service.voices(self._voices.items())
            self._request = replace(self._request, voices=voices)
            yield
        finally:
            await self._service.close()

    async def parts(self, source: Source, report: Report) -> AsyncGenerator[Part, None]:
        with self._spool(source) as spool:
            report("loading the model")
            await self._loaded()
            report("recognising")
            download = None
            if source.remote:
                download = asyncio.create_task(self._service.fetcher.fetch(source.typed, spool))
            try:
                async with aclosing(self._service.transcribe(spool, self._request)) as parts:
                    async for part in parts:
                        yield part
            finally:
                if download:
                    download.cancel()
                    await asyncio.gather(download, return_exceptions=True)

    async def _loaded(self) -> None:
        # Looking again and again, because a thread that waits could not be interrupted.
        while True:
            try:
                self._pool.wait_ready(timeout=0)
            except EngineLoading:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    def _spool(self, source: Source) -> Spool:
        return self._service.spool() if source.remote else Spool.over(source.opened())
