"""The composition root: the one place where settings, catalog, runtime and pipeline meet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from math import inf

from reflector_gpu.audio.fetch import Fetcher, FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.downloads import Downloads
from reflector_gpu.engines.answers import check_recognition
from reflector_gpu.engines.base import Model
from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.errors import ShuttingDown
from reflector_gpu.pipeline.threads import join_all
from reflector_gpu.pipeline.transcribe import Part, Plan, transcribe
from reflector_gpu.runtime.admission import Admission, Limits
from reflector_gpu.runtime.placement import Placement, layout
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.runtime.supervisor import PoolOptions
from reflector_gpu.runtime.worker import Recipe
from reflector_gpu.settings import Settings
from reflector_gpu.types import (
    SAMPLE_RATE,
    Chunk,
    Priority,
    Recognition,
    Samples,
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
        self._pools: dict[str, Pool[Samples, Recognition]] = {}
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
        await asyncio.gather(*(asyncio.to_thread(pool.close) for pool in self._pools.values()))
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

    def state(self, model: Model) -> PoolState | None:
        """None: nobody has asked for this model yet."""
        pool = self._pools.get(model.name)
        return pool.state if pool else None

    def pools(self) -> list[Pool[Samples, Recognition]]:
        return list(self._pools.values())

    def spool(self) -> Spool:
        """An empty spool within the configured limits."""
        return Spool(self.settings.max_upload_bytes, self.settings.spool_dir)

    def request(
        self,
        model: str | None,
        options: TranscribeOptions,
        *,
        priority: Priority,
        vad: VadOptions | None = None,
    ) -> Request:
        """Resolve and check what a client asked for.

        Raises:
            UnknownModel, UnsupportedLanguage, InvalidRequest
            ModelNotInstalled, EngineLoading: it is not here, or not yet.
        """
        resolved = self.resolve(model, options)
        self.check_here(resolved)
        return Request(resolved, options, priority, vad or self.vad)

    def resolve(self, model: str | None, options: TranscribeOptions) -> Model:
        """The model that a client means, if it can do what is asked for.

        Raises:
            UnknownModel, UnsupportedLanguage, InvalidRequest
        """
        resolved = self.catalog.resolve(model, options.language, options.task)
        resolved.check_language(options.language)
        resolved.check_task(options.task)
        return resolved

    def transcribe(
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
        return transcribe(spool, plan, submit)

    def pool(self, model: Model) -> Pool[Samples, Recognition]:
        """The workers of ``model``, started if this is the first use."""
        model.check_installed()
        if self._closed:
            raise ShuttingDown("The service is shutting down.")
        if model.name not in self._pools:
            spec = model.spec
            pool: Pool[Samples, Recognition] = Pool(
                model.name,
                [self._recipe(model, placement) for placement in self.layout(model)],
                PoolOptions(
                    max_batch=spec.max_batch,
                    max_batch_cost=spec.max_batch_seconds,
                    replace_abandoned=spec.quick_restart,
                    idle_seconds=self._idle_seconds(model),
                ),
            )
            self._pools[model.name] = pool
            pool.start()
        return self._pools[model.name]

    def layout(self, model: Model) -> list[Placement]:
        """Where the workers of ``model`` run."""
        return layout(
            self.settings.devices,
            model.spec.devices,
            cores=available_cores(),
            workers=self.settings.workers,
            single_threaded=model.spec.single_threaded,
        )

    def _downloaded(self, model: Model) -> None:
        if not self._closed:
            self.pool(model)

    def _recipe(self, model: Model, placement: Placement) -> Recipe:
        spec = model.spec
        longest = spec.max_chunk_seconds + 1
        most = max(longest, min(longest * spec.max_batch, spec.max_batch_seconds))
        arguments: dict[str, str] = {}
        if model.weights and model.weights.folder:
            arguments["weights"] = str(model.weights.folder)
        if len(spec.devices) > 1:
            arguments["device"] = placement.device
        if spec.compute_types and self.settings.compute_type:
            arguments["compute_type"] = self.settings.compute_type
        return Recipe(
            model.engine,
            "transcribe",
            int(most * SAMPLE_RATE),
            {**arguments, **model.arguments},
            placement.environment,
        )

    def _idle_seconds(self, model: Model) -> float | None:
        if self.settings.keep_default and model in self.catalog.defaults:
            return None
        return self.settings.idle_seconds or None


def catalog_of(settings: Settings) -> Catalog:
    """The models that ``settings`` name.

    Raises:
        UnknownModel, ConfigurationError
    """
    return Catalog(
        settings.model, settings.model_aliases, settings.model_paths, settings.auto_models
    )


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
