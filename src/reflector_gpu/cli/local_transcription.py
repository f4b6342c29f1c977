"""Transcription by this command, with worker processes of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing

from reflector_gpu.cli.downloads import download
from reflector_gpu.cli.sources import Report, Source
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.settings import Settings
from reflector_gpu.transcriber import Options, Transcriber

_MOST_TOGETHER = 8  # bounds the chunks in memory on machines with many cores


class LocalTranscriber:
    """One `Transcriber` for all recordings of a command."""

    def __init__(self, options: Options, settings: Settings) -> None:
        """Check everything that can be checked before the first recording, and download weights if
        that is allowed.

        Raises:
            ReflectorError: the settings, the model or the language do not work.
        """
        self._transcriber = Transcriber(settings, **options)
        for model in self._transcriber.absent:
            download(model, settings)
        self._transcriber.check_installed()

    @property
    def concurrency(self) -> int:
        return min(_MOST_TOGETHER, 1 + self._transcriber.workers)

    def running(self) -> AbstractAsyncContextManager[object]:
        """Load the model in the background, and stop its processes at the end."""
        return self._transcriber

    async def parts(self, source: Source, report: Report) -> AsyncGenerator[Part, None]:
        with ExitStack() as files:
            recording = source.typed if source.remote else files.enter_context(source.opened())
            report("loading the model")
            await self._transcriber.loaded()
            report("recognising")
            async with aclosing(self._transcriber.parts(recording)) as parts:
                async for part in parts:
                    yield part
