"""What sessions need of the service: a recogniser, and a place to work in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from reflector_gpu.live.base import LiveSpeakers, LiveTranscriber
from reflector_gpu.live.window import PATIENCE
from reflector_gpu.realtime.configuration import Transcription
from reflector_gpu.runtime.admission import RecordingTally
from reflector_gpu.service import Service, TranscriptionRequest
from reflector_gpu.service.parameters import TranscriptionParameters
from reflector_gpu.types import Priority, Samples

_PATIENCE_SECONDS = 30.0  # in which a turn waits for a place; its audio is kept meanwhile

_DELAYS = {
    "minimal": 1.0,
    "low": 1.5,
    None: PATIENCE,
    "medium": PATIENCE,
    "high": 5.0,
    "xhigh": 6.0,
}
"""Seconds for which a word waits at most until it is certain, by what the client wants."""


class Speech(Protocol):
    """Recognises the turns of one session."""

    def check(self, wanted: Transcription) -> None:
        """Raise `ReflectorError` unless there is such a model, which can do what is ``wanted``."""

    async def transcriber(self, wanted: Transcription) -> LiveTranscriber:
        """What recognises as ``wanted``, once its model is loaded.

        Raises:
            ReflectorError: there is none.
        """
        ...

    def place(self) -> AbstractAsyncContextManager[RecordingTally]:
        """A place to work in for as long as a turn lasts, and the account of its audio.

        Raises:
            Overloaded: there was none for a long time.
        """
        ...

    def expect_pauses(self) -> None:
        """Prepare for `finished`, which will be asked in pauses."""

    async def finished(self, samples: Samples) -> bool | None:
        """Whether somebody who has said ``samples`` has finished, as the voice tells; None if
        nothing here can hear that."""
        ...

    def recognised(self, wanted: Transcription, seconds: float) -> None:
        """Count the ``seconds`` of a turn."""

    def words_told(self, wanted: Transcription, delays: Sequence[float]) -> None:
        """Words have been sent, each so many seconds after the audio of its end arrived."""

    async def check_options(self, wanted: Transcription) -> None:
        """Raise `ReflectorError` unless segments can have the speakers and translations that are
        ``wanted``."""

    def speakers(self) -> LiveSpeakers:
        """What tells the speakers of the session apart, after `check_options`."""
        ...

    async def translated(self, wanted: Transcription, text: str, language: str | None) -> str:
        """The translation of ``text``. ``language`` is the detected one, if the client named none.

        Raises:
            ReflectorError: it cannot be translated.
        """
        ...


class Account(Protocol):
    """Is told what the sessions of one client have used, and of which model."""

    def audio(self, model: str, seconds: float) -> None:
        """Somebody spoke for so long."""

    def word_delay(self, model: str, seconds: float) -> None:
        """A word was sent so long after it was said."""


class ServiceSpeech:
    """`Speech` of the service, on the account of one client."""

    def __init__(self, service: Service, client: str, account: Account | None = None) -> None:
        self._service = service
        self._client = client
        self._account = account
        self._transcribers: dict[Transcription, LiveTranscriber] = {}

    def check(self, wanted: Transcription) -> None:
        self._request(wanted)

    async def transcriber(self, wanted: Transcription) -> LiveTranscriber:
        if wanted not in self._transcribers:
            self._transcribers = {wanted: await self._made(wanted)}
        return self._transcribers[wanted]

    async def _made(self, wanted: Transcription) -> LiveTranscriber:
        request = self._request(wanted)
        await self._service.loaded(request.model)
        return self._service.recordings.live(request, _DELAYS[wanted.delay])

    @asynccontextmanager
    async def place(self) -> AsyncIterator[RecordingTally]:
        admission = self._service.admission
        async with admission.patient_permit(
            Priority.LIVE, self._client, _PATIENCE_SECONDS
        ) as permit:
            with permit.recording() as recording:
                yield recording

    def expect_pauses(self) -> None:
        self._service.endpointing.prepare()

    async def finished(self, samples: Samples) -> bool | None:
        return await self._service.endpointing.finished(samples)

    def recognised(self, wanted: Transcription, seconds: float) -> None:
        if self._account:
            self._account.audio(self._request(wanted).model.name, seconds)

    def words_told(self, wanted: Transcription, delays: Sequence[float]) -> None:
        if self._account and delays:
            model = self._request(wanted).model.name
            for seconds in delays:
                self._account.word_delay(model, seconds)

    async def check_options(self, wanted: Transcription) -> None:
        if wanted.translate_to:
            await self._service.translations.check_target(wanted.language, wanted.translate_to)
        if wanted.diarize:
            await self._service.live_diarization.load()

    def speakers(self) -> LiveSpeakers:
        return self._service.live_diarization.speakers()

    async def translated(self, wanted: Transcription, text: str, language: str | None) -> str:
        assert wanted.translate_to
        of_segments = self._service.translations.of_segments(wanted.translate_to, Priority.LIVE)
        (found,) = await of_segments([text], wanted.language or language)
        return found

    def _request(self, wanted: Transcription) -> TranscriptionRequest:
        parameters = TranscriptionParameters.of(
            model=wanted.model,
            language=wanted.language,
            languages=wanted.languages,
            hotwords=wanted.keywords,
            prompt=wanted.prompt,
        )
        model = self._service.resolve(parameters.model, parameters.options())
        return self._service.request(model, parameters, priority=Priority.LIVE, streamed=True)
