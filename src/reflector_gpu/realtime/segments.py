"""The sentences of a turn, sent as soon as they are settled, with speakers and translations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from reflector_gpu.errors import EngineFailed, ReflectorError, release_frames
from reflector_gpu.realtime import server_events as events
from reflector_gpu.realtime.configuration import Transcription
from reflector_gpu.realtime.recognition import Speech
from reflector_gpu.realtime.voices import Voices
from reflector_gpu.sentences import sentences
from reflector_gpu.types import Word, join_words

logger = logging.getLogger(__name__)

Send = Callable[[events.ServerEvent], Awaitable[None]]


class Segments:
    """Sends them in order. A speaker or a translation that fails is left out, and an error says so
    once."""

    def __init__(
        self, item_id: str, speech: Speech, wanted: Transcription, voices: Voices, send: Send
    ) -> None:
        self._item_id = item_id
        self._speech = speech
        self._wanted = wanted
        self._voices = voices
        self._send = send
        self._words: list[Word] = []
        self._settled: asyncio.Queue[tuple[Sequence[Word], str | None] | None] = asyncio.Queue()
        self._failed: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self.offset = 0.0
        """Seconds from the start of the item's audio to the time 0 of the words."""
        self.begin = 0.0
        """Seconds from the start of the session to the time 0 of the words."""

    def add(self, words: Sequence[Word], language: str | None) -> None:
        """Take the next words. A sentence is sent once there are words after it."""
        self._words += words
        *whole, self._words = map(list, sentences(self._words)) if self._words else [[]]
        for sentence in whole:
            self._tell_soon(sentence, language)

    async def end(self, language: str | None) -> None:
        """Send what is left, and wait until everything is sent."""
        if self._words:
            self._tell_soon(self._words, language)
            self._words = []
        if self._task:
            self._settled.put_nowait(None)
            await asyncio.wait({self._task})

    def drop(self) -> None:
        """Send no more."""
        if self._task:
            self._task.cancel()

    def _tell_soon(self, words: Sequence[Word], language: str | None) -> None:
        self._settled.put_nowait((words, language))
        if self._task is None:
            self._task = asyncio.create_task(self._tell_all(), name=f"segments of {self._item_id}")

    async def _tell_all(self) -> None:
        while (told := await self._settled.get()) is not None:
            try:
                await self._send_segment(*told)
            except Exception:  # a bug of ours fails one segment and not the session
                logger.exception("a segment of a realtime turn failed")

    async def _send_segment(self, words: Sequence[Word], language: str | None) -> None:
        segment_id, text = events.new_id("seg"), join_words(words)
        start, end = words[0].start, words[-1].end
        speaker, translation = words[0].speaker or "", None
        if self._wanted.diarize:
            told = self._voices.speaker(
                segment_id, self._item_id, self.begin + start, self.begin + end
            )
            speaker = await self._or_error("diarize", told) or ""
        if self._wanted.translate_to:
            translated = self._speech.translated(self._wanted, text, language)
            translation = await self._or_error("translate_to", translated)
        await self._send(
            events.SegmentHeard(
                id=segment_id,
                item_id=self._item_id,
                start=round(self.offset + start, 3),
                end=round(self.offset + end, 3),
                speaker=speaker,
                text=text,
                translation=translation,
            )
        )

    async def _or_error(self, field: str, work: Awaitable[str]) -> str | None:
        """The result of ``work``; None if it fails, which the client is told once a turn."""
        try:
            return await work
        except ReflectorError as error:
            release_frames(error)
            problem = events.Problem.of(error)
        except Exception:  # a bug of ours must not cost the words
            logger.exception("the option %s of a realtime session failed", field)
            problem = events.Problem.of(EngineFailed("The server failed on this segment."))
        if field not in self._failed:
            self._failed.add(field)
            param = f"session.audio.input.transcription.{field}"
            await self._send(events.ErrorEvent(error=problem.model_copy(update={"param": param})))
        return None
