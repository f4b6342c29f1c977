"""Transcription inside a Python program: recordings in, words out, and no server.

    from reflector_gpu import transcribe

    transcript = transcribe("meeting.mp3")
    for word in transcript.words:
        print(word.start, word.text)

Models run in processes of their own, as they do for the server, and the same environment variables
(``REFLECTOR_DEVICES``, ``REFLECTOR_PROFILE``, ...) say which and where. A program that transcribes
several recordings loads the model once with a `Transcriber`.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal, Self, TypeAlias, TypedDict, TypeVar, Unpack

from reflector_gpu.audio.opened import spool_of
from reflector_gpu.audio.spool import Spool
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.pipeline.transcription import Part, collect
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import RecordingParameters
from reflector_gpu.service.request import TranscriptionRequest
from reflector_gpu.settings import Settings, load_settings
from reflector_gpu.types import Priority, Transcript

T = TypeVar("T")

Recording: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""The path of a file, an http(s) URL, the bytes of a file, or a file that is open in binary mode.

Any format that FFmpeg reads will do. An open file is read from where it is, and stays open.
"""


class Options(TypedDict, total=False):
    """Options of a transcription. All have defaults."""

    model: str
    """A name from ``reflector-gpu models list``. Left out, the configured model."""
    language: str
    """The spoken language: ``en``, ``pt-BR``, ``Spanish``. Left out, it is detected if the model
    can."""
    languages: Sequence[str]
    """Languages that may be spoken, if ``language`` is left out."""
    prompt: str
    """Text that sets the style and the spelling."""
    hotwords: Sequence[str]
    """Words to expect."""
    temperature: float
    """Whisper's randomness, from 0 (the likeliest words) to 1."""
    translate_to: str
    """Each segment gets a ``translation`` into this language."""
    diarize: bool
    """Each word and segment gets a ``speaker``. The options below imply it."""
    num_speakers: int
    min_speakers: int
    max_speakers: int
    voices: Mapping[str, str | os.PathLike[str] | bytes]
    """Speakers by name: a recording of two to ten seconds of each, as a path or as bytes."""
    track: int | str
    """The audio track of a file that has several: its number, from 0, or its language."""
    channels: Literal["mixed", "separate"]
    """``separate``: each channel of the file is a speaker, or each of its tracks."""
    strict: bool
    """Fail if the model fails on a part of the recording. Left out, the transcript lacks that part,
    and says so in ``unheard``."""


class Transcriber:
    """Transcribes any number of recordings, with the same options and one load of the model.

        async with Transcriber(language="en", diarize=True) as transcriber:
            for path in paths:
                transcript = await transcriber.transcribe(path)

    Recordings may be transcribed side by side, as with `asyncio.gather`. The worker processes end
    with the block.
    """

    def __init__(self, settings: Settings | None = None, **options: Unpack[Options]) -> None:
        """Check the options, and start nothing. ``settings`` are those of the environment if left
        out.

        Raises:
            ReflectorError: a setting or an option does not fit.
            OSError: the file of a voice cannot be read.
        """
        if unknown := sorted(options.keys() - Options.__annotations__.keys()):
            known = ", ".join(Options.__annotations__)
            raise TypeError(f"There is no option {unknown[0]!r}; there are {known}.")
        voices = {name: _bytes(voice) for name, voice in options.get("voices", {}).items()}
        self._parameters = RecordingParameters.of(**{**options, "voices": voices})
        # Limits protect a server from its clients, and these recordings are the caller's own.
        own = {
            "max_audio_seconds": math.inf,
            "translate_characters": sys.maxsize,
            "load_seconds": math.inf,
        }
        self._service = Service((settings or load_settings()).model_copy(update=own))
        self._model = self._service.resolve(self._parameters.model, self._parameters.options())
        self._speakers = self._service.speakers(self._parameters)
        self._request: TranscriptionRequest | None = None

    async def __aenter__(self) -> Self:
        """Begin to load the model, after a download where the settings allow that.

        Raises:
            ReflectorError: a model is not installed, or does not do what the options ask.
        """
        try:
            await self._prepare()
        except BaseException:
            await self._service.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._service.close()

    @property
    def models(self) -> list[AnyModel]:
        """The models that the options need."""
        needed: list[AnyModel] = [self._model]
        if self._speakers is not None:
            needed.append(self._service.diarizer)
        if self._parameters.translate_to:
            needed += self._service.translations.models
        return needed

    @property
    def absent(self) -> list[AnyModel]:
        """Those of `models` that lack only their weights, and may be downloaded."""
        return [model for model in self.models if self._service.may_download(model)]

    @property
    def workers(self) -> int:
        """How many chunks of speech are recognised at the same time."""
        return self._service.workers.pool(self._model).workers

    def check_installed(self) -> None:
        """Raise `ReflectorError` if a model is not installed, or cannot do what the options ask."""
        self._checked()

    async def loaded(self) -> None:
        """Wait until the model is loaded.

        Raises:
            ReflectorError: it cannot load.
        """
        await self._service.loaded(self._model)

    async def transcribe(self, recording: Recording) -> Transcript:
        """The whole transcript of ``recording``.

        Raises:
            ReflectorError: it is no audio, cannot be fetched, or the model fails.
            OSError: the file cannot be read.
        """
        async with aclosing(self._parts(recording, streamed=False)) as parts:
            return await collect(parts)

    async def parts(self, recording: Recording) -> AsyncGenerator[Part, None]:
        """The transcript of ``recording`` in parts, as they come.

        The first words come early. With speakers or translations, the last part has all segments
        again.

        Raises:
            ReflectorError, OSError: as `transcribe`.
        """
        async with aclosing(self._parts(recording, streamed=True)) as parts:
            async for part in parts:
                yield part

    async def _parts(self, recording: Recording, streamed: bool) -> AsyncGenerator[Part, None]:
        if self._request is None:
            raise RuntimeError("A Transcriber works inside of 'async with' only.")
        request = replace(self._request, streamed=streamed)
        async with self._spooled(recording) as spool:
            await self.loaded()
            async with aclosing(self._service.recordings.transcribe(spool, request)) as parts:
                async for part in parts:
                    yield part

    @asynccontextmanager
    async def _spooled(self, recording: Recording) -> AsyncIterator[Spool]:
        """The recording's bytes, which may still arrive."""
        if isinstance(recording, str) and recording.lower().startswith(("http://", "https://")):
            async with self._service.recordings.download(recording) as spool:
                yield spool
        elif isinstance(recording, bytes):
            with Spool(len(recording), self._service.scratch) as spool:
                spool.write(recording)
                spool.finish()
                yield spool
        elif isinstance(recording, str | os.PathLike):
            with Spool.of(Path(recording)) as spool:
                yield spool
        elif callable(getattr(recording, "read", None)):
            with await asyncio.to_thread(spool_of, recording, self._service.scratch) as spool:
                yield spool
        else:
            raise TypeError(
                "A recording is a path, a URL, the bytes of a file, or a file that is open in "
                f"binary mode, and not {type(recording).__name__}."
            )

    async def _prepare(self) -> None:
        service = self._service
        for model in self.absent:
            service.downloads.start(model)
        await service.downloads.finished()
        request = self._checked()
        if request.translate_to:
            await service.translations.check_target(request.written, request.translate_to)
        service.workers.pool(self._model)  # which begins to load it
        voices = await service.recordings.voices(self._parameters.voices.items())
        self._request = replace(request, voices=voices)

    def _checked(self) -> TranscriptionRequest:
        return self._service.request(self._model, self._parameters, priority=Priority.FILE)


def transcribe(
    recording: Recording, *, settings: Settings | None = None, **options: Unpack[Options]
) -> Transcript:
    """Transcribe one recording; see `Options`.

    This works in scripts, in threads, and in notebooks, whose event loop waits meanwhile.

    Raises:
        ReflectorError: a setting, an option, the recording or the model does not work.
        OSError: a file cannot be read.
    """
    return _result(transcribe_async(recording, settings=settings, **options))


async def transcribe_async(
    recording: Recording, *, settings: Settings | None = None, **options: Unpack[Options]
) -> Transcript:
    """`transcribe`, for event loops. Cancelling it ends the work."""
    async with Transcriber(settings, **options) as transcriber:
        return await transcriber.transcribe(recording)


async def transcribe_parts(
    recording: Recording, *, settings: Settings | None = None, **options: Unpack[Options]
) -> AsyncGenerator[Part, None]:
    """Parts of one recording's transcript as they come; see `Transcriber.parts`.

    Raises:
        ReflectorError, OSError: as `transcribe`.
    """
    async with (
        Transcriber(settings, **options) as transcriber,
        aclosing(transcriber.parts(recording)) as parts,
    ):
        async for part in parts:
            yield part


def _bytes(voice: str | os.PathLike[str] | bytes) -> bytes:
    return voice if isinstance(voice, bytes) else Path(voice).read_bytes()


def _result(work: Coroutine[object, object, T]) -> T:
    """The result of ``work``, even if an event loop already runs in this thread."""
    if not _in_event_loop():
        return asyncio.run(work)
    interrupted: Future[None] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="transcribe") as thread:
        try:
            return thread.submit(asyncio.run, _unless(interrupted, work)).result()
        except BaseException:  # Ctrl-C, say: the executor waits until the work has ended
            interrupted.cancel()
            raise


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _unless(interrupted: Future[None], work: Coroutine[object, object, T]) -> T:
    task = asyncio.ensure_future(work)
    asyncio.wrap_future(interrupted).add_done_callback(lambda _: task.cancel())
    return await task
