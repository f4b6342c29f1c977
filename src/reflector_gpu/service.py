"""The composition root: the one place where settings, catalog, runtime and pipeline meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from math import inf

from reflector_gpu.audio.fetch import Fetcher, FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.downloads import Downloads
from reflector_gpu.engines.answers import check_recognition
from reflector_gpu.engines.base import Model
from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.diarizers import diarizer_of
from reflector_gpu.engines.pcm import FileRecording, PcmFile
from reflector_gpu.hosts import Hosts
from reflector_gpu.pipeline.diarize import SubmitRecording, diarize, with_speakers
from reflector_gpu.pipeline.known import Voice, allowing_for, voice
from reflector_gpu.pipeline.threads import join_all
from reflector_gpu.pipeline.transcribe import Part, Plan, transcribe
from reflector_gpu.runtime.admission import Admission, Limits
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.settings import Settings
from reflector_gpu.types import (
    Chunk,
    DiarizeOptions,
    Priority,
    Recognition,
    Samples,
    SpeakerTurn,
    TranscribeOptions,
)

_LAST_BLOCK_SECONDS = 2.0  # what a decoder may need to see that it has been stopped


@dataclass(frozen=True, slots=True)
class Request:
    """One recording's worth of wishes, validated."""

    model: Model
    options: TranscribeOptions = field(default_factory=TranscribeOptions)
    priority: Priority = Priority.LIVE
    vad: VadOptions = field(default_factory=VadOptions)
    speakers: DiarizeOptions | None = None
    """How to tell them apart; None: not at all."""
    voices: Sequence[Voice] = ()
    """Of speakers whose names are known."""


class Service:
    """Everything behind the API and the command line. `start` it, use it, `close` it."""

    def __init__(self, settings: Settings) -> None:
        """Build from settings, loading nothing.

        Raises:
            ConfigurationError: a setting does not work.
            UnknownModel: the configured model or an alias names none.
        """
        self.settings = settings
        self.catalog = catalog_of(settings)
        self.diarizer = diarizer_of(settings.diarizer)
        self.admission = Admission(
            {
                Priority.LIVE: Limits(settings.live_requests, settings.live_audio_seconds),
                Priority.FILE: Limits(settings.file_requests, settings.file_audio_seconds),
            },
            Limits(settings.key_requests or inf, settings.key_hourly_audio_seconds or inf),
        )
        self.vad = VadOptions(settings.vad_threshold, settings.vad_padding_seconds)
        self.fetcher = Fetcher(
            AddressGuard(settings.url_allow),
            FetchLimits(
                max_bytes=settings.max_upload_bytes,
                connect_timeout=settings.url_connect_seconds,
                read_timeout=settings.url_read_seconds,
                total_timeout=settings.url_total_seconds,
                retries=settings.url_retries,
            ),
        )
        self.downloads = Downloads(self._downloaded)
        self.hosts = Hosts(settings, [model.name for model in self.catalog.configured])
        self._closed = False

    def start(self) -> None:
        """Begin to load the configured models in the background, downloaded first if they may be.

        Called in the event loop that the service is used in.
        """
        for model in self.configured:
            if self.may_download(model):
                self.downloads.start(model)
            elif not model.missing:
                self.pool(model)

    async def close(self) -> None:
        """Stop every worker; running transcriptions fail with `ShuttingDown`."""
        self._closed = True
        await self.downloads.close()
        await self.fetcher.aclose()
        await self.hosts.close()
        await asyncio.to_thread(join_all, _LAST_BLOCK_SECONDS)

    @property
    def configured(self) -> list[Model]:
        """What to have ready: the configured models that are here, or may be downloaded."""
        models = self.catalog.configured
        possible = [model for model in models if not model.missing or self.may_download(model)]
        return possible or self.catalog.defaults

    def may_download(self, model: Model) -> bool:
        """Whether ``model`` is only a download away, and downloads are wanted."""
        return self.settings.auto_pull and model.downloadable

    def check_ready(self) -> None:
        """Raise `ReflectorError` unless the configured models can work now."""
        for model in self.configured:
            self.check_here(model)
            self.pool(model).wait_ready(timeout=0)

    def check_here(self, model: Model) -> None:
        """Raise `Unavailable` if ``model`` is not installed; begin to download it if it may be."""
        if self.may_download(model):
            self.downloads.start(model)
            self.downloads.check(model)
        model.check_installed()

    async def loaded(self, model: Model) -> None:
        """Load ``model`` if nobody has, and wait for it, within reason.

        Raises:
            ReflectorError: it can not load, or takes longer than ``load_seconds``.
        """
        await self.pool(model).ready(self.settings.load_seconds)

    def spool(self) -> Spool:
        """An empty spool within the configured limits."""
        return Spool(self.settings.max_upload_bytes, self.settings.spool_dir)

    async def voice(self, name: str, audio: bytes) -> Voice:
        """How the speaker ``name`` sounds, from a short file of any format.

        Raises:
            InvalidRequest: not audio, too long, or nobody speaks in it.
            StorageFull
        """

        def decoded() -> Voice:
            with closing(self.spool()) as spool:
                spool.write(audio)
                spool.finish()
                return voice(name, spool)

        return await asyncio.to_thread(decoded)

    def request(
        self,
        model: str | None,
        options: TranscribeOptions,
        *,
        priority: Priority,
        vad: VadOptions | None = None,
        speakers: DiarizeOptions | None = None,
    ) -> Request:
        """Resolve and check what a client asked for.

        Raises:
            UnknownModel, UnsupportedLanguage, InvalidRequest
            ModelNotInstalled, EngineLoading: it is not here, or not yet.
        """
        resolved = self.resolve(model, options)
        self.check_here(resolved)
        return Request(resolved, options, priority, vad or self.vad, speakers)

    def resolve(self, model: str | None, options: TranscribeOptions) -> Model:
        """The model that a client means, if it can do what is asked for.

        Raises:
            UnknownModel, UnsupportedLanguage, InvalidRequest
        """
        resolved = self.catalog.resolve(model, options.language, options.task)
        resolved.check_language(options.language)
        resolved.check_task(options.task)
        return resolved

    async def transcribe(
        self, spool: Spool, request: Request, expect: Callable[[float], None] = lambda _: None
    ) -> AsyncGenerator[Part, None]:
        """Parts of the transcript of ``spool``, while it fills. The caller closes both.

        ``expect`` is told, by a thread, how many seconds the recording claims to have.
        """
        pool = self.pool(request.model)
        spec = request.model.spec

        async def submit(
            chunk: Chunk, options: TranscribeOptions, priority: Priority
        ) -> Recognition:
            cost = max(chunk.duration, spec.window_seconds)
            return check_recognition(
                await pool.submit(chunk.samples, options, cost=cost, priority=priority)
            )

        plan = Plan(
            request.options,
            request.priority,
            max_chunk_seconds=spec.max_chunk_seconds,
            max_gap_seconds=spec.max_gap_seconds,
            ahead=max(4, 2 * spec.max_batch, 2 * pool.workers),
            max_seconds=self.settings.max_audio_seconds,
            vad=request.vad,
            expect=expect,
        )
        if request.speakers is None:
            async with aclosing(transcribe(spool, plan, submit)) as parts:
                async for part in parts:
                    yield part
            return
        with closing(Recorder(self.settings.spool_dir)) as recorder:
            parts = transcribe(spool, replace(plan, recorder=recorder), submit)
            whose = self._submit_recording(allowing_for(request.speakers, request.voices))
            told_apart = with_speakers(parts, recorder, whose, request.voices)
            async with aclosing(told_apart) as told:
                async for part in told:
                    yield part

    async def diarize(
        self,
        spool: Spool,
        options: DiarizeOptions,
        *,
        expect: Callable[[float], None] = lambda _: None,
    ) -> Sequence[SpeakerTurn]:
        """Who speaks when in ``spool``, which may still fill. The caller closes it.

        ``expect`` is as in `transcribe`.
        """
        with closing(Recorder(self.settings.spool_dir)) as recorder:
            return await diarize(
                spool,
                recorder,
                self._submit_recording(options),
                max_seconds=self.settings.max_audio_seconds,
                expect=expect,
            )

    def _submit_recording(self, options: DiarizeOptions) -> SubmitRecording:
        pool = self.hosts.diarizer(self.diarizer)

        async def submit(recorder: Recorder) -> Sequence[SpeakerTurn]:
            pcm = PcmFile.duplicate(recorder.descriptor)
            recording = FileRecording(pcm, await asyncio.to_thread(lambda: recorder.speech))
            cost = recording.seconds
            return await pool.submit(recording, options, cost=cost, priority=Priority.FILE)

        return submit

    def pool(self, model: Model) -> Pool[Samples, Recognition]:
        """The workers of ``model``, started if this is the first use."""
        return self.hosts.recogniser(model)

    def _downloaded(self, model: Model) -> None:
        if not self._closed:
            self.pool(model)


def catalog_of(settings: Settings) -> Catalog:
    """The models that ``settings`` name.

    Raises:
        UnknownModel, ConfigurationError
    """
    return Catalog(
        settings.model, settings.model_aliases, settings.model_paths, settings.auto_models
    )
