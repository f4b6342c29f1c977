"""One turn of a session: its audio while it comes, and its words as they become certain."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import aclosing

from reflector_gpu.errors import EngineFailed, ReflectorError, release_frames
from reflector_gpu.formats.logprobs import logprobs
from reflector_gpu.formats.schemas import Logprob
from reflector_gpu.live.base import Heard, LiveUtterance
from reflector_gpu.realtime import server_events as events
from reflector_gpu.realtime.arrivals import Arrivals
from reflector_gpu.realtime.configuration import Transcription
from reflector_gpu.realtime.ending import is_unfinished, is_whole
from reflector_gpu.realtime.recognition import Speech
from reflector_gpu.realtime.segments import Segments, Send
from reflector_gpu.realtime.voices import Voices
from reflector_gpu.types import SAMPLE_RATE, Samples, Segment, Word, join_words

logger = logging.getLogger(__name__)


class Turn:
    """Work on it goes on for some time after `finish`. What is heard goes to ``send``.

    It begins once the turn before has its words, because clients put deltas together as they come,
    and so that a session holds one place at most. The audio is kept until then.
    """

    def __init__(
        self,
        begin: int,
        speech: Speech,
        wanted: Transcription | None,
        send: Send,
        *,
        after: Turn | None,
        likely: bool,
        voices: Voices,
    ) -> None:
        """It begins at the sample ``begin`` of the session, and comes ``after`` another.

        Nothing is recognised if nothing is ``wanted``. ``likely``: events say how likely each token
        is. ``voices`` are the session's.
        """
        self.item_id = events.new_id("item")
        self.begin = begin
        self.end = begin
        """The sample at which it ends so far."""
        self.transcript: str | None = None
        """What was said, once all of it is known."""
        self._speech = speech
        self._wanted = wanted
        self._send = send
        self._after = after
        self._likely = likely
        self._voices = voices
        self._segments = Segments(self.item_id, speech, wanted, voices, send) if wanted else None
        self._arrivals = Arrivals()
        self._silent = 0  # samples at its beginning that no recogniser gets
        self._waiting: list[tuple[Samples, Samples | None]] = []  # until recognition begins
        self._utterance: LiveUtterance | None = None
        self._finished = False
        self._told: list[Word] = []
        self._text = ""
        self._tentative: tuple[Word, ...] = ()
        self._language: str | None = None
        self._task: asyncio.Task[None] | None = None

    # The audio

    def skip(self, samples: int) -> None:
        """Count ``samples`` of silence before the speech."""
        self._silent += samples
        self.end += samples

    def push(self, samples: Samples, probabilities: Samples | None = None) -> None:
        """Take the next samples, and what the detector found in their windows."""
        if self._wanted and self._wanted.diarize:
            self._voices.push(self.end, samples)
        self.end += len(samples)
        if self.done:  # nothing is wanted, or it has failed
            return
        self._arrivals.add(len(samples))
        if self._utterance is None:
            self._waiting.append((samples, probabilities))
        else:
            self._utterance.push(samples, probabilities)
        if self._task is None and self._wanted:
            self._task = asyncio.create_task(self._recognise(self._wanted), name=self.item_id)

    def finish(self) -> None:
        """No more samples come."""
        self._finished = True
        if self._utterance is not None:
            self._utterance.finish()
        if self._task is None and self._wanted:  # nobody has spoken
            self._task = asyncio.create_task(self._complete_without_words(), name=self.item_id)

    async def result(self) -> None:
        """Wait until it is completed, or has failed."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Drop it, with all work on it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    # What is known of it

    @property
    def seconds(self) -> float:
        return (self.end - self.begin) / SAMPLE_RATE

    @property
    def heard(self) -> int:
        """The samples without the silence at its beginning."""
        return self.end - self.begin - self._silent

    @property
    def done(self) -> bool:
        return self._wanted is None or (self._task is not None and self._task.done())

    def is_whole(self, silence: int) -> bool:
        """Whether a whole sentence was said before ``silence`` samples in which nobody spoke."""
        return is_whole(self._tentative or self._told[-1:], self._spoken(silence))

    def is_unfinished(self, silence: int) -> bool:
        """Whether the words before ``silence`` samples show that somebody will go on."""
        words = self._tentative or self._told[-1:]
        return is_unfinished(words, self._spoken(silence), self._language)

    def _spoken(self, silence: int) -> float:
        """Seconds before the last ``silence`` samples."""
        return (self.end - self.begin - self._silent - silence) / SAMPLE_RATE

    # The words

    async def _recognise(self, wanted: Transcription) -> None:
        try:
            await self._follow()
            async with self._speech.place() as account:
                try:
                    await self._listen(wanted)
                    account.done(self.heard / SAMPLE_RATE)
                finally:
                    account.decoded(self.heard / SAMPLE_RATE, math.inf)
            self._speech.recognised(wanted, self.heard / SAMPLE_RATE)
            await self._complete()
        except ReflectorError as error:
            release_frames(error)
            await self._fail(error)
        except Exception:  # a bug of ours fails one turn and not the session
            logger.exception("a realtime turn failed")
            await self._fail(EngineFailed("The server failed on this turn."))
        finally:  # the session keeps the turn, but not its audio
            self._waiting.clear()
            self._utterance = None
            if self._segments:
                self._segments.drop()

    async def _listen(self, wanted: Transcription) -> None:
        transcriber = await self._speech.transcriber(wanted)
        utterance = transcriber.utterance()
        async with aclosing(utterance):
            self._begin(utterance)
            async for heard in utterance:
                delays = [self._arrivals.since(word.end) for word in heard.settled]
                self._speech.words_told(wanted, delays)
                await self._hear(heard)

    def _begin(self, utterance: LiveUtterance) -> None:
        for samples, probabilities in self._waiting:
            utterance.push(samples, probabilities)
        self._waiting.clear()
        self._utterance = utterance
        if self._finished:
            utterance.finish()

    async def _hear(self, heard: Heard) -> None:
        before, self._tentative = self._tentative, heard.tentative
        self._language = heard.language or self._language
        if heard.settled:
            await self._settle(heard)
        if self._wanted and self._wanted.tentative and heard.tentative != before:
            text = join_words(heard.tentative)
            await self._send(events.TentativeWords(item_id=self.item_id, text=text))

    async def _settle(self, heard: Heard) -> None:
        text = "".join(word.spaced for word in heard.settled)
        likely = self._logprobs(heard.settled, follow=bool(self._told))
        delta = text if self._text else text.lstrip()
        self._told += heard.settled
        self._text += delta
        await self._send(events.Delta(item_id=self.item_id, delta=delta, logprobs=likely))
        if self._segments:
            self._segments.offset = self._silent / SAMPLE_RATE
            self._segments.begin = (self.begin + self._silent) / SAMPLE_RATE
            self._segments.add(heard.settled, self._language)

    async def _complete_without_words(self) -> None:
        await self._follow()
        await self._complete()

    async def _complete(self) -> None:
        if self._segments:
            await self._segments.end(self._language)
        self.transcript = self._text
        languages = (events.SpokenLanguage(code=self._language),) if self._language else None
        await self._send(
            events.Completed(
                item_id=self.item_id,
                transcript=self._text,
                usage=events.Duration(seconds=round(self.seconds, 3)),
                languages=languages,
                logprobs=self._logprobs(self._told),
            )
        )
        self._told.clear()

    async def _follow(self) -> None:
        """Wait for the turn before, so that one place is enough for a session."""
        if self._after:
            await self._after.result()
            self._after = None  # or all turns would be kept

    async def _fail(self, error: ReflectorError) -> None:
        await self._send(events.Failed(item_id=self.item_id, error=events.Problem.of(error)))

    def _logprobs(
        self, words: Sequence[Word], *, follow: bool = False
    ) -> tuple[Logprob, ...] | None:
        if not self._likely:
            return None
        return logprobs([Segment.of(words)], follow=follow) if words else ()
