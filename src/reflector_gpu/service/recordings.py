"""Get recordings here, transcribe them, and tell their speakers apart."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace

from reflector_gpu.audio.fetch import Fetcher
from reflector_gpu.audio.recorder import MOST_BYTES, Recorder
from reflector_gpu.audio.scratch import ScratchFolder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.tracks import TrackWish
from reflector_gpu.decoding.base import Decoders
from reflector_gpu.engines.diarization.base import FileRecording, PcmRecording
from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec
from reflector_gpu.engines.recognition.checks import check_recognition
from reflector_gpu.errors import release_frames
from reflector_gpu.live.base import LiveTranscriber
from reflector_gpu.live.load import Load
from reflector_gpu.live.utterance import AgreeingTranscriber, LivePlan
from reflector_gpu.live.window import PATIENCE
from reflector_gpu.pcm import PcmFile
from reflector_gpu.pipeline.channels import (
    MOST_CHANNELS,
    diarize_channels,
    transcribe_channels,
)
from reflector_gpu.pipeline.diarization import Diarized, SubmitRecording, diarize, with_speakers
from reflector_gpu.pipeline.identification import Identify
from reflector_gpu.pipeline.places import Places
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.pipeline.transcription import Part, Plan, Submit, transcribe
from reflector_gpu.pipeline.translation import in_their_place, with_translations
from reflector_gpu.pipeline.voices import Voice, allowing_for, voice
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.service.request import TranscriptionRequest
from reflector_gpu.service.translations import Translations
from reflector_gpu.service.worker_pools import WorkerPools
from reflector_gpu.settings import Settings
from reflector_gpu.stages import stage
from reflector_gpu.types import (
    Chunk,
    DiarizeOptions,
    Priority,
    Recognition,
    Samples,
    SpeakerTurn,
    TranscribeOptions,
)

_CONTEXT_SECONDS = 6.0
"""What a realtime session hears again of the turn before."""


class Recordings:
    """Works on recordings. Safe to share between tasks."""

    def __init__(
        self,
        settings: Settings,
        scratch: ScratchFolder,
        fetcher: Fetcher,
        decoders: Decoders,
        workers: WorkerPools,
        diarizers: Callable[[], Pool[PcmRecording, Sequence[SpeakerTurn]]],
        translations: Translations,
    ) -> None:
        """Long recordings lie in ``scratch``.

        ``diarizers`` gives the workers of the diarizer, or raises `Unavailable`.
        """
        self._settings = settings
        self._scratch = scratch
        self._fetcher = fetcher
        self._decoders = decoders
        self._workers = workers
        self._diarizers = diarizers
        self._translations = translations
        # Separate channels have no more decoders than requests could have that mix theirs. A file
        # and a live request with as many channels as there may be always have room beside each
        # other.
        requests = settings.live_requests + settings.file_requests
        count = max(2 * MOST_CHANNELS, requests)
        self._channels = Places(count, for_files=count - MOST_CHANNELS)
        self.live_load = Load(settings.live_step_seconds)
        """The sessions that are recognised while they speak."""

    async def aclose(self) -> None:
        await self._fetcher.aclose()

    def spool(self) -> Spool:
        """An empty spool within the configured limits."""
        return Spool(self._settings.max_upload_bytes, self._scratch)

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Spool]:
        """A spool that fills with the bytes from ``url``. Both end with the block."""
        with self.spool() as spool:
            fetching = asyncio.create_task(self.fetch(url, spool))
            try:
                yield spool
            finally:
                fetching.cancel()
                await asyncio.wait({fetching})
                if not fetching.cancelled() and (error := fetching.exception()):
                    release_frames(error)  # nobody else looks at it, because readers were told

    async def fetch(self, url: str, spool: Spool) -> None:
        """Fill ``spool`` with the bytes from ``url``; see `Fetcher.fetch`."""
        with stage("download"):
            await self._fetcher.fetch(url, spool)

    async def voices(self, known: Iterable[tuple[str, bytes]]) -> list[Voice]:
        """Decode the voices of speakers. Each has a name, and a short file of any audio format.

        Raises:
            InvalidRequest, StorageFull: as `pipeline.voices.voice`.
        """

        found: list[Voice] = []
        for name, audio in known:
            with self.spool() as spool:
                spool.write(audio)
                spool.finish()
                found.append(await voice(name, spool, self._decoders))
        return found

    async def clip(self, name: str, spool: Spool) -> Voice:
        """Decode a file with the voice of somebody who is to be remembered.

        Raises:
            InvalidRequest: as `pipeline.voices.voice`.
        """
        return await voice(name, spool, self._decoders, param="file")

    def transcribe(
        self,
        spool: Spool,
        request: TranscriptionRequest,
        tally: Tally = UNCOUNTED,
    ) -> AsyncGenerator[Part, None]:
        """Parts of the transcript of ``spool``, while it fills. The caller closes both.

        ``tally`` is told how long the recording is.
        """
        parts = self._spoken(spool, request, tally)
        if request.translate_to:
            translate_all = self._translations.of_segments(request.translate_to, request.priority)
            parts = with_translations(parts, request.written, translate_all)
        return in_their_place(parts) if request.translated else parts

    def _spoken(
        self, spool: Spool, request: TranscriptionRequest, tally: Tally
    ) -> AsyncGenerator[Part, None]:
        pool, spec = self._workers.pool(request.model, request.priority), self._spec(request.model)
        submit = _submit(pool, spec, request)
        plan = Plan(
            request.options,
            request.priority,
            max_chunk_seconds=spec.max_chunk_seconds,
            max_gap_seconds=spec.max_gap_seconds,
            ahead=spec.ahead(pool.workers),
            max_seconds=self._settings.max_audio_seconds,
            track=request.track,
            vad=request.vad,
            tally=tally,
            schedule=spec.streamed if request.streamed else spec.whole,
            strict=request.strict,
        )
        if request.separate:
            return transcribe_channels(spool, plan, self._decoders, submit, self._channels)
        if request.speakers is None:
            return transcribe(spool, plan, self._decoders, submit)
        # Of people who speak at once, a recogniser writes down the one whom it hears best.
        speakers = replace(allowing_for(request.speakers, request.voices), exclusive=True)
        whose = self._submit_recording(speakers)
        return self._told_apart(spool, plan, submit, whose, request)

    def live(self, request: TranscriptionRequest, patience: float = PATIENCE) -> LiveTranscriber:
        """What recognises speech as ``request`` says, while it is spoken.

        A word waits for ``patience`` seconds at most until it is certain. If that is longer than
        usual, none is told before two passes agree on it.
        """
        pool = self._workers.pool(request.model, request.priority)
        submit, spec = _submit(pool, self._spec(request.model), request), request.model.spec

        def recognise(chunk: Chunk, options: TranscribeOptions) -> Awaitable[Recognition]:
            return submit(chunk, options, Priority.LIVE)

        # A recogniser that finds out the language would take that of the context for the speaker's.
        known = request.options.language or len(spec.languages) == 1
        plan = LivePlan(
            request.options,
            spec.max_chunk_seconds,
            request.vad,
            patience,
            context_seconds=_CONTEXT_SECONDS if known else 0.0,
            sure=spec.sure if patience <= PATIENCE else None,
        )
        return AgreeingTranscriber(plan, recognise, self.live_load)

    def _spec(self, model: RecogniserModel) -> RecogniserSpec:
        """The specification of ``model`` on the machine where it runs."""
        threads = self._workers.cpu_threads(model)
        return model.spec if threads is None else model.spec.on_cpu(threads)

    async def _told_apart(
        self,
        spool: Spool,
        plan: Plan,
        submit: Submit,
        whose: SubmitRecording,
        request: TranscriptionRequest,
    ) -> AsyncGenerator[Part, None]:
        """Transcribe with speakers. The decoded audio is kept for the diarizer until the end."""
        with closing(self._recorder()) as recorder:
            plan = replace(plan, recorder=recorder)
            parts = transcribe(spool, plan, self._decoders, submit)
            told_apart = with_speakers(parts, recorder, whose, request.voices, request.identify)
            async with aclosing(told_apart) as told:
                async for part in told:
                    yield part

    async def diarize(
        self,
        spool: Spool,
        options: DiarizeOptions,
        voices: Sequence[Voice] = (),
        identify: Identify | None = None,
        *,
        track: str | None = None,
        tally: Tally = UNCOUNTED,
    ) -> Diarized:
        """Tell who speaks when in ``spool``, which may still fill.

        Those with ``voices`` get names, and so do those whom ``identify`` finds. The caller closes
        the spool. ``tally`` is told how long the recording is.
        """
        with closing(self._recorder()) as recorder:
            return await diarize(
                spool,
                recorder,
                self._decoders,
                self._submit_recording(allowing_for(options, voices)),
                voices,
                identify,
                max_seconds=self._settings.max_audio_seconds,
                tally=tally,
                track=TrackWish(track),
            )

    async def diarize_channels(
        self, spool: Spool, *, track: str | None = None, tally: Tally = UNCOUNTED
    ) -> Diarized:
        """Tell when somebody speaks on each channel of ``spool``, whose number is the speaker's.

        The rest is as in `diarize`.
        """
        return await diarize_channels(
            spool,
            self._recorder,
            self._decoders,
            TrackWish(track),
            max_seconds=self._settings.max_audio_seconds,
            tally=tally,
        )

    def _recorder(self) -> Recorder:
        return Recorder(Spool(MOST_BYTES, self._scratch))

    def _submit_recording(self, options: DiarizeOptions) -> SubmitRecording:
        pool = self._diarizers()

        async def submit(recorder: Recorder) -> Sequence[SpeakerTurn]:
            pcm = PcmFile.duplicate(recorder.descriptor)
            recording = FileRecording(pcm, await asyncio.to_thread(lambda: recorder.speech))
            cost = recording.seconds
            return await pool.submit(recording, options, cost=cost, priority=Priority.FILE)

        return submit


def _submit(
    pool: Pool[Samples, Recognition], spec: RecogniserSpec, request: TranscriptionRequest
) -> Submit:
    """What has the workers of the request's model, in ``pool``, recognise a chunk."""

    async def submit(chunk: Chunk, options: TranscribeOptions, priority: Priority) -> Recognition:
        cost = chunk.duration if options.live else max(chunk.duration, spec.window_seconds)

        async def recognise() -> Recognition:
            return check_recognition(
                await pool.submit(
                    chunk.samples, options, cost=cost, priority=priority, waited=request.waited
                )
            )

        if request.remember:
            return await request.remember(chunk, options, recognise)
        return await recognise()

    return submit
