"""One connection of a Wyoming client: its events, and the answers to them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from reflector_gpu.errors import EngineFailed, InvalidRequest, ReflectorError, release_frames
from reflector_gpu.live.base import LiveUtterance
from reflector_gpu.realtime.audio_formats import PCM_RATES, Decoder, pcm_decoder
from reflector_gpu.realtime.configuration import Transcription
from reflector_gpu.realtime.recognition import Speech
from reflector_gpu.types import SAMPLE_RATE, Samples, Word, join_words
from reflector_gpu.wyoming.wire import Event

Send = Callable[[Event], Awaitable[None]]

logger = logging.getLogger(__name__)

_WIDTH = 2  # bytes of a sample
_MOST_SECONDS = 600  # of one utterance, which waits in memory if the client is fast
_SLOWEST = 2  # times as long as its audio an utterance may take to arrive


class Conversation:
    """Answers the events of one client. The caller closes it."""

    def __init__(self, speech: Speech, info: Callable[[], Event], send: Send) -> None:
        """``info`` describes this server."""
        self._speech = speech
        self._info = info
        self._send = send
        self._wanted = _wanted(Event("transcribe"))
        self._left = 0
        self._decoder: Decoder | None = None
        self._heard: asyncio.Queue[Samples | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.until = math.inf
        """When the utterance has to be over, by the clock of the event loop."""

    async def take(self, event: Event) -> None:
        """Do what the client asks with ``event``. Unknown ones are ignored.

        Raises:
            ReflectorError: it cannot be done.
        """
        match event.type:
            case "describe":
                await self._send(self._info())
            case "ping":
                await self._send(Event("pong", event.data))
            case "transcribe":
                wanted = _wanted(event)
                self._speech.check(wanted)
                self._wanted = wanted
            case "audio-start":
                await self._start(event)
            case "audio-chunk":
                if self._decoder is None:
                    await self._start(event)
                self._hear(event.payload)
            case "audio-stop":
                self._decoder, self.until = None, math.inf
                self._heard.put_nowait(None)
            case _:
                pass

    @property
    def is_working(self) -> bool:
        """Whether the client has said everything, and waits for the words."""
        return self._decoder is None and self._task is not None and not self._task.done()

    async def aclose(self) -> None:
        """Drop what is being recognised."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _start(self, event: Event) -> None:
        """Begin to recognise audio in the form that ``event`` describes."""
        rate = event.data.get("rate", SAMPLE_RATE)
        form = event.data.get("width", _WIDTH), event.data.get("channels", 1)
        if type(rate) is not int or rate not in PCM_RATES or form != (_WIDTH, 1):
            rates = ", ".join(map(str, PCM_RATES))
            raise InvalidRequest(f"Audio must be 16-bit mono at one of these rates: {rates}.")
        await self.aclose()
        self._heard = asyncio.Queue()
        self._left = _MOST_SECONDS * SAMPLE_RATE
        self._decoder = pcm_decoder(rate)
        self.until = asyncio.get_running_loop().time() + _SLOWEST * _MOST_SECONDS
        self._task = asyncio.create_task(self._recognise(self._wanted, self._heard))

    def _hear(self, data: bytes) -> None:
        if self._decoder is None or self._left < 0:
            return
        samples = self._decoder(data)
        self._left -= len(samples)
        if self._left < 0:
            self._heard.put_nowait(None)
            raise InvalidRequest(f"Speech may be {_MOST_SECONDS} seconds long.")
        self._heard.put_nowait(samples)

    async def _recognise(self, wanted: Transcription, audio: asyncio.Queue[Samples | None]) -> None:
        try:
            async with self._speech.place() as account:
                pushed = _Pushed((await self._speech.transcriber(wanted)).utterance(), audio)
                pushing = asyncio.create_task(pushed.run())
                try:
                    await self._send_transcript(pushed.utterance)
                    await pushing
                    account.done(pushed.seconds)
                finally:
                    pushing.cancel()
                    account.decoded(pushed.seconds, math.inf)  # even if the client has left
            self._speech.recognised(wanted, pushed.seconds)
        except ReflectorError as error:
            release_frames(error)
            await self._send(failure(error))
        except Exception:  # a bug of ours, of which the client has to hear
            logger.exception("speech of a Wyoming client was not recognised")
            await self._send(failure(EngineFailed("The server failed on this speech.")))

    async def _send_transcript(self, utterance: LiveUtterance) -> None:
        told: list[Word] = []
        language: str | None = None
        await self._send(Event("transcript-start"))
        async with aclosing(utterance):
            async for heard in utterance:
                language = heard.language or language
                if heard.settled:
                    text = "".join(word.spaced for word in heard.settled)
                    chunk = text if told else text.lstrip()
                    told += heard.settled
                    await self._send(Event("transcript-chunk", {"text": chunk}))
        spoken = {"language": language} if language else {}
        await self._send(Event("transcript", {"text": join_words(told), **spoken}))
        await self._send(Event("transcript-stop"))


def _wanted(event: Event) -> Transcription:
    """The model and the language that a client names. Longer names than there are do not fit."""
    given = {"model": event.text("name"), "language": event.text("language")}
    return Transcription.model_validate(
        {name: (text or "")[:100] or None for name, text in given.items()}
    )


def failure(error: ReflectorError) -> Event:
    """The event that tells a client of ``error``."""
    return Event("error", {"text": error.message, "code": error.code})


class _Pushed:
    """Gives ``audio`` to ``utterance``, and counts its seconds."""

    def __init__(self, utterance: LiveUtterance, audio: asyncio.Queue[Samples | None]) -> None:
        self.utterance = utterance
        self.seconds = 0.0
        self._audio = audio

    async def run(self) -> None:
        while (samples := await self._audio.get()) is not None:
            self.seconds += len(samples) / SAMPLE_RATE
            self.utterance.push(samples)
        self.utterance.finish()
