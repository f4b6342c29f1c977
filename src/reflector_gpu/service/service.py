"""The composition root: the one place where settings, catalog, runtime and pipeline meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace
from math import inf

from reflector_gpu.audio.fetch import Fetcher, FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.tracks import TrackWish
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.completion.base import CompleterModel
from reflector_gpu.engines.diarization.base import FileRecording
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.checks import check_recognition
from reflector_gpu.engines.recognition.resolution import (
    ABSENT,
    COMING,
    FAILED,
    HERE,
    PULLABLE,
    READY,
)
from reflector_gpu.llm.base import LanguageModel
from reflector_gpu.llm.configured import chosen, language_model
from reflector_gpu.pcm import PcmFile
from reflector_gpu.pipeline.diarization import Diarized, SubmitRecording, diarize, with_speakers
from reflector_gpu.pipeline.threads import join_all
from reflector_gpu.pipeline.transcription import Part, Plan, Submit, transcribe
from reflector_gpu.pipeline.translation import in_their_place, with_translations
from reflector_gpu.pipeline.voices import Voice, allowing_for, voice
from reflector_gpu.runtime.admission import Admission, Limits
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.service.catalogs import check_language_model, recognisers_of
from reflector_gpu.service.downloads import Downloads
from reflector_gpu.service.padding import Padding
from reflector_gpu.service.parameters import TranscriptionParameters
from reflector_gpu.service.request import TranscriptionRequest
from reflector_gpu.service.translations import Translations
from reflector_gpu.service.worker_pools import Elsewhere, WorkerPools
from reflector_gpu.settings import Settings
from reflector_gpu.types import (
    PLAIN,
    Chunk,
    Completion,
    DiarizeOptions,
    Priority,
    Prompt,
    Recognition,
    SpeakerTurn,
    Task,
    TranscribeOptions,
)

_LAST_BLOCK_SECONDS = 2.0  # what a decoder may need to see that it has been stopped


class Service:
    """Everything behind the API and the command line. `start` it, use it, `close` it."""

    def __init__(self, settings: Settings, elsewhere: Elsewhere | None = None) -> None:
        """Build from settings, loading nothing. Models ``elsewhere`` need not be installed here;
        none but these are kept ready then, and without any (``{}``), no model is.

        Raises:
            ConfigurationError: a setting does not work.
            UnknownModel: the configured model or an alias names none.
        """
        self.settings = settings
        self.recognisers = recognisers_of(settings)
        self.diarizer = DIARIZERS.find(settings.diarizer, settings.model_paths)
        self.admission = Admission(
            {
                Priority.LIVE: Limits(settings.live_requests, settings.live_audio_seconds),
                Priority.FILE: Limits(settings.file_requests, settings.file_audio_seconds),
            },
            Limits(settings.key_requests or inf, settings.key_hourly_audio_seconds or inf),
        )
        self.vad = VadOptions(settings.vad_threshold, settings.vad_padding_seconds)
        guard, limits = AddressGuard(settings.url_allow), FetchLimits.of(settings)
        self.fetcher = Fetcher(guard, limits)
        self.padding = Padding(settings, guard, limits)
        self.downloads = Downloads(self._downloaded, sources=settings.weights_sources)
        self._llm = language_model(settings, self._completer)
        if self._llm:
            check_language_model(self.recognisers, self._llm.name)
        kept = [model.name for model in self.recognisers.configured]
        kept += [model.name for model in self.language_models]
        self.workers = WorkerPools(settings, kept, elsewhere or {})
        self.translations = Translations(settings, self.workers, self.check_here)
        self._elsewhere = elsewhere
        self._closed = False

    def start(self) -> None:
        """Begin to load the configured models in the background, downloaded first if they may be.

        Called in the event loop that the service is used in.
        """
        for model in self.prepared:
            if self.may_download(model):
                self.downloads.start(model)
            elif not self.workers.missing(model):
                self.workers.pool(model)
        if self._llm:
            self._llm.start()

    async def close(self) -> None:
        """Stop every worker; running transcriptions fail with `ShuttingDown`."""
        self._closed = True
        await self.downloads.close()
        await self.fetcher.aclose()
        await self.padding.aclose()
        if self._llm:
            await self._llm.aclose()
        await self.workers.close()
        await asyncio.to_thread(join_all, _LAST_BLOCK_SECONDS)

    @property
    def configured(self) -> list[RecogniserModel]:
        """What to have ready: what is needed of the models that are here, or may be downloaded.

        A service with models elsewhere answers for those alone.
        """
        models = self.recognisers.configured
        if self._elsewhere is not None:
            return [model for model in models if model.name in self._elsewhere]
        possible = [model for model in models if not model.missing or self.may_download(model)]
        return self.recognisers.needed(possible) or self.recognisers.defaults

    @property
    def prepared(self) -> list[AnyModel]:
        """`configured`, and the diarizer if it has a model to load."""
        ours = self._elsewhere is None or self.diarizer.name in self._elsewhere
        diarizers = [self.diarizer] if self.diarizer.trained and ours else []
        return [*self.configured, *diarizers]

    def may_download(self, model: AnyModel) -> bool:
        """Whether ``model`` is only a download away, and downloads are wanted."""
        return self.settings.auto_pull and self.workers.missing(model) == ("weights",)

    def check_ready(self) -> None:
        """Raise `ReflectorError` unless the configured models can work now."""
        for model in self.prepared:
            self.check_here(model)
            self.workers.pool(model).wait_ready(timeout=0)
        if self._llm:
            self._llm.check_ready()

    @property
    def language_models(self) -> list[LanguageModel]:
        """The one that is configured, if any is."""
        return [self._llm] if self._llm else []

    def language_model(self, name: str | None = None) -> LanguageModel:
        """The one that a client means; without a name, the configured one.

        Raises:
            ModelNotInstalled: none is configured.
            UnknownModel
        """
        return chosen(self._llm, name)

    def check_here(self, model: AnyModel) -> None:
        """Raise `Unavailable` if ``model`` is not installed; begin to download it if it may be."""
        if self.workers.state(model) is PoolState.READY:
            return  # it is here, and need not be looked for on disk
        if self.may_download(model):
            self.downloads.start(model)
            self.downloads.check(model)
        if self.workers.missing(model):
            model.check_installed()

    async def loaded(self, model: RecogniserModel) -> None:
        """Load ``model`` if need be, and wait for it.

        Raises:
            ReflectorError: it cannot load, or takes longer than ``load_seconds``.
        """
        await self.workers.pool(model).ready(self.settings.load_seconds)

    def spool(self) -> Spool:
        """An empty spool within the configured limits."""
        return Spool(self.settings.max_upload_bytes, self.settings.spool_dir)

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Spool]:
        """A spool that fills with the bytes from ``url``. Both end with the block."""
        with self.spool() as spool:
            fetching = asyncio.create_task(self.fetcher.fetch(url, spool))
            try:
                yield spool
            finally:
                fetching.cancel()
                await asyncio.gather(fetching, return_exceptions=True)  # readers were told

    async def voices(self, known: Iterable[tuple[str, bytes]]) -> list[Voice]:
        """How speakers sound: each has a name, and a short file of any audio format.

        Raises:
            InvalidRequest, StorageFull: as `pipeline.voices.voice`.
        """

        def decoded(name: str, audio: bytes) -> Voice:
            with closing(self.spool()) as spool:
                spool.write(audio)
                spool.finish()
                return voice(name, spool)

        return [await asyncio.to_thread(decoded, name, audio) for name, audio in known]

    def request(
        self,
        model: RecogniserModel,
        parameters: TranscriptionParameters,
        *,
        priority: Priority,
        task: Task = "transcribe",
        vad: VadOptions | None = None,
        streamed: bool = False,
    ) -> TranscriptionRequest:
        """What ``parameters`` ask of ``model``, which `resolve` has chosen.

        Speech that it cannot translate itself is transcribed, and its text translated.

        Raises:
            UnsupportedLanguage, InvalidRequest
            ModelNotInstalled, EngineLoading: it is not here, or not yet.
        """
        options, translate_to = parameters.options(task), parameters.translate_to
        speakers = self.speakers(parameters, task)
        own, among = model.expected(options.language, options.languages)
        by_text = not model.can(options.task)
        if by_text:
            self.translations.check_possible(model.name, also=translate_to)
            options, translate_to = replace(options, task="transcribe"), "en"
        for needed in (model, *([self.diarizer] if speakers is not None else ())):
            self.check_here(needed)
        return TranscriptionRequest(
            model,
            replace(options, language=own, languages=among),
            options.language or own,
            priority,
            vad or self.vad,
            speakers,
            translate_to=translate_to,
            translated=by_text,
            track=TrackWish(parameters.track, options.language),
            streamed=streamed,
        )

    def speakers(
        self, parameters: TranscriptionParameters, task: Task = "transcribe"
    ) -> DiarizeOptions | None:
        """How ``parameters``, or the name of their model, ask for speakers; None: not at all."""
        if task == "transcribe" and self.recognisers.meaning(parameters.model).speakers:
            parameters = parameters.with_speakers()
        return parameters.speakers

    def resolve(self, model: str | None, options: TranscribeOptions) -> RecogniserModel:
        """The model that a client means, if it knows what is spoken.

        Raises:
            UnknownModel, UnsupportedLanguage
        """
        resolved = self.recognisers.resolve(
            model, options.language, options.task, self.closeness, options.languages
        )
        resolved.expected(options.language, options.languages)
        return resolved

    def closeness(self, model: RecogniserModel) -> int:
        """How far ``model`` is from working here; see `Catalog`."""
        state = self.workers.state(model)
        if state is PoolState.READY:
            return READY
        if not (missing := self.workers.missing(model)):
            return FAILED if state is PoolState.FAILED else HERE
        if self.may_download(model) and not self.downloads.failed(model):
            return COMING
        return PULLABLE if missing == ("weights",) else ABSENT

    def transcribe(
        self,
        spool: Spool,
        request: TranscriptionRequest,
        expect: Callable[[float], None] = lambda _: None,
    ) -> AsyncGenerator[Part, None]:
        """Parts of the transcript of ``spool``, while it fills. The caller closes both.

        A thread calls ``expect`` with the seconds that the recording claims to have.
        """
        parts = self._spoken(spool, request, expect)
        if request.translate_to:
            translate_all = self.translations.of_segments(request.translate_to, request.priority)
            parts = with_translations(parts, request.written, translate_all)
        return in_their_place(parts) if request.translated else parts

    def _spoken(
        self, spool: Spool, request: TranscriptionRequest, expect: Callable[[float], None]
    ) -> AsyncGenerator[Part, None]:
        pool = self.workers.pool(request.model, request.priority)
        spec = request.model.spec
        if (threads := self.workers.cpu_threads(request.model)) is not None:
            spec = spec.on_cpu(threads)

        async def submit(
            chunk: Chunk, options: TranscribeOptions, priority: Priority
        ) -> Recognition:
            cost = max(chunk.duration, spec.window_seconds)
            return check_recognition(
                await pool.submit(
                    chunk.samples, options, cost=cost, priority=priority, waited=request.waited
                )
            )

        plan = Plan(
            request.options,
            request.priority,
            max_chunk_seconds=spec.max_chunk_seconds,
            max_gap_seconds=spec.max_gap_seconds,
            ahead=spec.ahead(pool.workers),
            max_seconds=self.settings.max_audio_seconds,
            track=request.track,
            vad=request.vad,
            expect=expect,
            schedule=spec.streamed if request.streamed else PLAIN,
        )
        if request.speakers is None:
            return transcribe(spool, plan, submit)
        # A recogniser writes down one of those who speak at once: the one whom it hears best.
        speakers = replace(allowing_for(request.speakers, request.voices), exclusive=True)
        whose = self._submit_recording(speakers)
        return self._told_apart(spool, plan, submit, whose, request.voices)

    async def _told_apart(
        self,
        spool: Spool,
        plan: Plan,
        submit: Submit,
        whose: SubmitRecording,
        voices: Sequence[Voice],
    ) -> AsyncGenerator[Part, None]:
        """Parts with their speakers. What the diarizer hears is recorded until they end."""
        with closing(Recorder(self.settings.spool_dir)) as recorder:
            parts = transcribe(spool, replace(plan, recorder=recorder), submit)
            async with aclosing(with_speakers(parts, recorder, whose, voices)) as told:
                async for part in told:
                    yield part

    async def diarize(
        self,
        spool: Spool,
        options: DiarizeOptions,
        voices: Sequence[Voice] = (),
        *,
        track: str | None = None,
        expect: Callable[[float], None] = lambda _: None,
    ) -> Diarized:
        """Who speaks when in ``spool``, which may still fill: by name where ``voices`` tell it.

        The caller closes the spool. ``expect`` is as in `transcribe`.
        """
        with closing(Recorder(self.settings.spool_dir)) as recorder:
            return await diarize(
                spool,
                recorder,
                self._submit_recording(allowing_for(options, voices)),
                voices,
                max_seconds=self.settings.max_audio_seconds,
                expect=expect,
                track=TrackWish(track),
            )

    def _submit_recording(self, options: DiarizeOptions) -> SubmitRecording:
        self.check_here(self.diarizer)
        pool = self.workers.pool(self.diarizer)

        async def submit(recorder: Recorder) -> Sequence[SpeakerTurn]:
            pcm = PcmFile.duplicate(recorder.descriptor)
            recording = FileRecording(pcm, await asyncio.to_thread(lambda: recorder.speech))
            cost = recording.seconds
            return await pool.submit(recording, options, cost=cost, priority=Priority.FILE)

        return submit

    def _completer(self, model: CompleterModel) -> Pool[Prompt, Completion]:
        return self.workers.pool(model)

    def _downloaded(self, model: AnyModel) -> None:
        if not self._closed:
            self.workers.pool(model)
