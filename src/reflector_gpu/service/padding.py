"""Put silence before recordings. Fetching, encoding and sending go on at the same time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing

from reflector_gpu.audio.fetch import FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.scratch import ScratchFolder
from reflector_gpu.audio.send import Sender
from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import Decoders
from reflector_gpu.decoding.messages import Claimed, Ended, Passed, Told
from reflector_gpu.decoding.tasks import Padding as PaddingTask
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.settings import Settings

OUTPUT_FIELD = "output_url"
"""The request field that says where the result goes."""

_PIECE = 65_536  # bytes that are sent at once


class Padding:
    """Puts silence before recordings. Safe to share between tasks."""

    def __init__(
        self,
        settings: Settings,
        scratch: ScratchFolder,
        guard: AddressGuard,
        limits: FetchLimits,
        decoders: Decoders,
    ) -> None:
        self._settings = settings
        self._scratch = scratch
        self._decoders = decoders
        self._sender = Sender(guard, limits, field=OUTPUT_FIELD)

    async def aclose(self) -> None:
        await self._sender.aclose()

    async def check_output(self, url: str) -> None:
        """Raise `ReflectorError` unless a file may be sent to ``url``."""
        await self._sender.check(url)

    async def pad(
        self,
        spool: Spool,
        seconds: float,
        output_url: str,
        tally: Tally = UNCOUNTED,
    ) -> int:
        """Send ``seconds`` of silence and the recording in ``spool``, which may still fill.

        Returns the bytes of the WebM file that ``output_url`` got. ``tally`` is told how long the
        recording is. The caller closes ``spool``.

        Raises:
            UndecodableAudio, TooLarge, StorageFull: the recording cannot be padded.
            UrlForbidden, UpstreamFailed, UpstreamTimeout: it cannot be sent.
        """
        settings = self._settings
        with closing(Spool(settings.max_upload_bytes, self._scratch)) as output:
            task = PaddingTask(seconds, settings.max_audio_seconds)
            async with aclosing(self._decoders.run(task, spool, output)) as told:
                result = _Growing(told, spool, output, tally)
                await result.begun()
                if spool.complete:
                    await result.completed()  # soon, and then more receivers take it
                await self._sender.send(output_url, result)
                return result.size


class _Growing:
    """The file that the encoder is writing, as the sender reads it."""

    def __init__(
        self, told: AsyncGenerator[Told], spool: Spool, output: Spool, tally: Tally
    ) -> None:
        self._told = told
        self._spool = spool
        self._output = output
        self._tally = tally
        self._beginning: bytes | None = None

    @property
    def size(self) -> int:
        return self._output.size

    @property
    def complete(self) -> bool:
        return self._beginning is not None

    async def begun(self) -> None:
        """Wait until the recording is known to have audio."""
        await self._step()

    async def completed(self) -> None:
        while await self._step():
            pass

    async def _step(self) -> bool:
        """Wait until more is written; False once everything is."""
        if self.complete:
            return False
        async for message, data in self._told:
            if isinstance(message, Claimed):
                self._tally.expect(message.seconds)
            elif isinstance(message, Passed):
                self._tally.decoded(message.seconds, self._spool.plausible_seconds)
                return True
            elif isinstance(message, Ended):
                self._tally.expect(message.seconds)
                self._beginning = bytes(data)
        return False

    async def arriving(self) -> AsyncGenerator[bytes, None]:
        position = 0
        while True:
            ended = not await self._step()
            for data in self._pieces(position):
                position += len(data)
                yield data
            if ended:
                return

    async def whole(self) -> AsyncGenerator[bytes, None]:
        assert self._beginning is not None
        yield self._beginning
        for data in self._pieces(len(self._beginning)):
            yield data

    def _pieces(self, position: int) -> Iterator[bytes]:
        """What is written from ``position`` on."""
        while position < self.size and (data := self._output.read_at(position, _PIECE)):
            position += len(data)
            yield data
