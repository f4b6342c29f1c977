"""Decoders in processes of their own, so that a hostile recording can end no other."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import (
    Claimed,
    Cut,
    DecoderMessage,
    Ended,
    Failed,
    Passed,
    Told,
)
from reflector_gpu.decoding.process import DecoderProcess, Died
from reflector_gpu.decoding.tasks import Chunking, is_plain, is_repeatable
from reflector_gpu.decoding.template import Template, TemplateDied
from reflector_gpu.errors import EngineFailed, UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE

logger = logging.getLogger(__name__)

_TRIES = 3
"""Kills from outside in a row, without anything new in between, until a recording is given up."""

_MOST_DEATHS = 10
"""Kills of the decoders of one recording. A decoder that has been taken over can tell news and look
as if it was killed, again and again."""

_NEWS_SECONDS = 60.0
"""Without a chunk, only so many further seconds of audio are news."""

_SAMPLE = 1 / SAMPLE_RATE  # seconds

_FORKED_AHEAD = 2
_MOST_UNHARMED = 8
"""Idle decoders, at most, that wait for another plain recording."""


class ProcessDecoders:
    """Implements `Decoders`. Used by one event loop."""

    def __init__(self, memory: int) -> None:
        """Each decoder may take ``memory`` bytes beyond what it has when it starts."""
        self.deaths = 0
        self._template = Template(memory)
        self._ahead = deque[asyncio.Task[DecoderProcess]]()
        """Forked for the next recordings."""
        self._unharmed: list[DecoderProcess] = []
        """Have done their tasks, and seen plain recordings alone."""

    def start(self) -> None:
        self._template.start()

    async def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        plain = is_plain(task, spool)
        news, rest = _News(), task
        while True:
            try:
                process = self._unharmed.pop() if plain and self._unharmed else await self._forked()
            except TemplateDied:
                if not news.may_go_on():
                    raise
                continue
            kept = False
            try:
                async with aclosing(process.run(rest, spool, output)) as messages:
                    async for message, data in messages:
                        if isinstance(message, Failed):
                            raise process.source_error or message.exception()
                        if isinstance(message, Ended) and process.source_error:
                            raise process.source_error
                        if output:
                            output.measure()
                        if isinstance(message, Ended):
                            kept = plain and self._kept(process)
                        if news.are_in(message):
                            yield message, data
                return
            except Died as death:
                self.deaths += 1
                process.close()
                status = await self._template.status(process.pid)
                logger.warning("a decoder %s", _obituary(status))
                if -status != signal.SIGKILL or isinstance(death.__cause__, ValueError):
                    raise UndecodableAudio(
                        f"The recording cannot be decoded: its decoder {_obituary(status)}.",
                        param="file",
                    ) from None
                self._forget()
                if not news.may_go_on() or not is_repeatable(task):
                    raise _killed() from None
                rest = news.rest(task)
                if output:
                    output.begin_anew()
            finally:
                if not kept:
                    self._end(process)

    async def close(self) -> None:
        await asyncio.gather(*self._ahead, return_exceptions=True)
        while self._ahead:
            self._let_go(self._ahead.popleft())
        while self._unharmed:
            self._end(self._unharmed.pop())
        await self._template.close()

    async def _forked(self) -> DecoderProcess:
        """A decoder that has seen nothing yet.

        Raises:
            ShuttingDown, EngineFailed
        """
        ready = self._ahead.popleft() if self._ahead else self._fork()
        if ready.done() and ready.exception():  # what failed then may work now
            ready = self._fork()
        while len(self._ahead) < _FORKED_AHEAD:
            self._ahead.append(self._fork())
        try:
            return await asyncio.shield(ready)
        except asyncio.CancelledError:
            ready.add_done_callback(self._let_go)
            raise

    def _fork(self) -> asyncio.Task[DecoderProcess]:
        return asyncio.create_task(self._template.fork())

    def _kept(self, process: DecoderProcess) -> bool:
        """Keep ``process``, which is idle, for another plain recording, unless enough are kept."""
        if len(self._unharmed) >= _MOST_UNHARMED or self._template.closed:
            return False
        self._unharmed.append(process)
        return True

    def _forget(self) -> None:
        """End the idle decoders. If the template has died, which ends one, it has ended all."""
        for ready in self._ahead:
            ready.add_done_callback(self._let_go)
        self._ahead.clear()
        while self._unharmed:
            self._end(self._unharmed.pop())

    def _let_go(self, forked: asyncio.Task[DecoderProcess]) -> None:
        """End a decoder that nobody will use."""
        if not forked.cancelled() and not forked.exception():
            self._end(forked.result())

    def _end(self, process: DecoderProcess) -> None:
        """End ``process``, in whatever state it is, without waiting for that."""
        if not process.closed:
            process.close()
            self._template.end(process.pid)


class _News:
    """Tells what is new from what is repeated, where a recording is decoded again after a kill."""

    def __init__(self) -> None:
        self._deaths = self._deaths_without_news = 0
        self._seconds = -1.0
        self._seconds_of_news = 0.0
        self._claimed: float | None = None
        self._chunks, self._end = 0, 0.0

    def may_go_on(self) -> bool:
        """Count a decoder that was killed. The result is whether another may go on."""
        self._deaths += 1
        self._deaths_without_news += 1
        return self._deaths < _MOST_DEATHS and self._deaths_without_news < _TRIES

    def rest(self, task: DecodeTask) -> DecodeTask:
        """What is left of ``task`` for another decoder."""
        if not isinstance(task, Chunking) or not self._chunks:
            return task
        return task.after(self._chunks, self._end, self._claimed)

    def are_in(self, message: DecoderMessage) -> bool:
        """Whether ``message`` is no repetition.

        Raises:
            EngineFailed: a chunk begins before the end of the last, so that words would be heard
                twice.
        """
        match message:
            case Cut():
                if message.start < self._end - _SAMPLE:
                    raise _killed()
                self._chunks += 1
                self._end = message.end
                self._seconds = max(self._seconds, message.seconds)
                self._are_there()
            case Passed(seconds=seconds) if seconds > self._seconds:
                self._seconds = seconds
                if seconds - self._seconds_of_news >= _NEWS_SECONDS:
                    self._are_there()
            case Claimed(seconds=seconds) if self._claimed is None:
                self._claimed = seconds
            case Ended():
                pass
            case Passed(seconds=seconds):
                return seconds == self._seconds  # no news, but a sign of life
            case _:
                return False
        return True

    def _are_there(self) -> None:
        self._deaths_without_news = 0
        self._seconds_of_news = max(self._seconds, self._seconds_of_news)


def _killed() -> EngineFailed:
    return EngineFailed("The decoder of the recording was killed; send it again.")


def _obituary(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "took longer than such a recording may"
    if status < 0:
        return f"crashed ({signal.strsignal(-status)})"
    return f"ended with status {status}"
