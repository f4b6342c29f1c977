"""The composition root: the only place that knows settings, catalogs, runtime and pipeline."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

from reflector_gpu.audio.fetch import Fetcher, FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.scratch import ScratchFolder
from reflector_gpu.audio.tracks import TrackWish
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.decoding.platform import decoders
from reflector_gpu.decoding.watched import WatchedDecoders
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalogs import helpers
from reflector_gpu.engines.completion.base import CompleterModel
from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.recognition.base import RecogniserModel
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
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.watching import NOBODY, PoolWatcher
from reflector_gpu.service.catalogs import check_language_model, recognisers_of
from reflector_gpu.service.downloads import Downloads
from reflector_gpu.service.endpointing import Endpointing
from reflector_gpu.service.known_speakers import KnownSpeakers
from reflector_gpu.service.live_diarization import LiveDiarization
from reflector_gpu.service.padding import Padding
from reflector_gpu.service.parameters import TranscriptionParameters
from reflector_gpu.service.recordings import Recordings
from reflector_gpu.service.request import TranscriptionRequest
from reflector_gpu.service.translations import Translations
from reflector_gpu.service.worker_pools import Elsewhere, WorkerPools
from reflector_gpu.settings import Settings
from reflector_gpu.types import (
    Completion,
    DiarizeOptions,
    Priority,
    Prompt,
    SpeakerTurn,
    Task,
    TranscribeOptions,
)

logger = logging.getLogger(__name__)


class Service:
    """Everything behind the API and the command line. `start` it, use it, `close` it."""

    def __init__(
        self,
        settings: Settings,
        elsewhere: Elsewhere | None = None,
        watcher: PoolWatcher = NOBODY,
    ) -> None:
        """Build from settings, loading nothing. Models ``elsewhere`` need not be installed here. If
        they are given, only they are kept ready: none for ``{}``. ``watcher`` is told of the work
        of all pools.

        Raises:
            ConfigurationError: a setting does not work.
            UnknownModel: the configured model or an alias names none.
        """
        self.settings = settings
        self.recognisers = recognisers_of(settings)
        self.diarizer = DIARIZERS.find(settings.diarizer, settings.model_paths)
        self.helpers = helpers(settings)
        self.admission = Admission.of(settings)
        self.vad = VadOptions(settings.vad_threshold, settings.vad_padding_seconds)
        guard, limits = AddressGuard(settings.url_allow), FetchLimits.of(settings)
        self.scratch = ScratchFolder(settings.spool_dir)
        self.decoders = WatchedDecoders(decoders(settings.decoding_memory_bytes))
        self.padding = Padding(settings, self.scratch, guard, limits, self.decoders)
        self.downloads = Downloads(self._downloaded, sources=settings.weights_sources)
        self._llm = language_model(settings, self._completer)
        if self._llm:
            check_language_model(self.recognisers, self._llm.name)
        kept = [model.name for model in self.recognisers.configured]
        kept += [model.name for model in self.language_models]
        self.workers = WorkerPools(settings, kept, elsewhere or {}, self.scratch, watcher)
        self.translations = Translations(settings, self.workers, self.check_here)
        self.recordings = Recordings(
            settings,
            self.scratch,
            Fetcher(guard, limits),
            self.decoders,
            self.workers,
            self._diarizers,
            self.translations,
        )
        self.live_diarization = LiveDiarization()
        self.endpointing = Endpointing(self.workers)
        self.known_speakers = KnownSpeakers(settings, self.live_diarization)
        self._elsewhere = elsewhere
        self._closed = False

    def load(self) -> None:
        """Begin to load the configured models that are here, in the background.

        `start` does that as well. This needs no event loop. Temporary files of servers that were
        killed are removed.
        """
        try:
            os.fspath(self.scratch)
        except OSError as error:  # short recordings need no file, and room may come
            logger.error("There is no room for temporary files: %s", error)
        self.decoders.start()
        for model in self.prepared:
            if not self.workers.missing(model):
                self.workers.pool(model)

    def start(self) -> None:
        """Begin to load the configured models in the background, downloaded first if they may be.

        Called in the event loop that the service is used in.
        """
        self.load()
        if self.configured:
            self._warn_of_aliases()
        for model in self.prepared:
            if self.may_download(model):
                self.downloads.start(model)
        if self._llm:
            self._llm.start()

    def _warn_of_aliases(self) -> None:
        for alias, model in self.recognisers.aliased(self.closeness).items():
            if model and self.closeness(model) > COMING:
                logger.warning(
                    "REFLECTOR_MODEL_ALIASES: '%s' means %s, which is not installed: %s",
                    alias,
                    model.name,
                    model.installation,
                )

    async def close(self) -> None:
        """Stop every worker; running transcriptions fail with `ShuttingDown`."""
        self._closed = True
        self.live_diarization.close()
        await self.downloads.close()
        await self.recordings.aclose()
        await self.padding.aclose()
        if self._llm:
            await self._llm.aclose()
        await self.workers.close()
        await self.decoders.close()
        self.scratch.close()

    @property
    def configured(self) -> list[RecogniserModel]:
        """The recognisers to have ready. They are here, or may be downloaded.

        A service with models elsewhere answers for those alone.
        """
        models = self.recognisers.configured
        if self._elsewhere is not None:
            return [model for model in models if model.name in self._elsewhere]
        possible = [model for model in models if not model.missing or self.may_download(model)]
        return self.recognisers.needed(possible) or self.recognisers.defaults

    @property
    def default(self) -> RecogniserModel | None:
        """What answers a request that names neither a model nor a language.

        None where nothing is recognised, as in an app that only translates.
        """
        if not self.configured:
            return None
        return self.recognisers.resolve(None, closeness=self.closeness)

    @property
    def prepared(self) -> list[AnyModel]:
        """All models to have ready: `configured`, and the diarizer if it has a model to load."""
        ours = self._elsewhere is None or self.diarizer.name in self._elsewhere
        diarizers = [self.diarizer] if self.diarizer.trained and ours else []
        return [*self.configured, *diarizers]

    def may_download(self, model: AnyModel) -> bool:
        """Whether nothing but a download is missing of ``model``, and downloads are allowed."""
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
        """The configured language model, if there is one."""
        return [self._llm] if self._llm else []

    def language_model(self, name: str | None = None) -> LanguageModel:
        """The language model that a client means by ``name``, or the configured one.

        Raises:
            ModelNotInstalled: none is configured.
            UnknownModel
        """
        return chosen(self._llm, name)

    def check_here(self, model: AnyModel) -> None:
        """Raise `Unavailable` if ``model`` is not installed, and download it if that is allowed."""
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
        """The request that ``parameters`` make of ``model``, which `resolve` has chosen.

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
            separate=parameters.separate,
            streamed=streamed,
            strict=bool(parameters.strict),
        )

    def speakers(
        self, parameters: TranscriptionParameters, task: Task = "transcribe"
    ) -> DiarizeOptions | None:
        """How to tell speakers apart, if ``parameters`` or the name of their model ask for that."""
        if task == "transcribe" and self.recognisers.meaning(parameters.model).speakers:
            parameters = parameters.with_speakers()
        return parameters.speakers

    def resolve(self, model: str | None, options: TranscribeOptions) -> RecogniserModel:
        """The model that a client means. It knows the spoken language.

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

    def _diarizers(self) -> Pool[PcmRecording, Sequence[SpeakerTurn]]:
        self.check_here(self.diarizer)
        return self.workers.pool(self.diarizer)

    def _completer(self, model: CompleterModel) -> Pool[Prompt, Completion]:
        return self.workers.pool(model)

    def _downloaded(self, model: AnyModel) -> None:
        if not self._closed:
            self.workers.pool(model)
