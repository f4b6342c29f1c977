"""Put silence before recordings. Fetching, encoding and sending go on at the same time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import closing

from reflector_gpu.audio.fetch import FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.padding import WebmFile, pad
from reflector_gpu.audio.scratch import ScratchFolder
from reflector_gpu.audio.send import Sender
from reflector_gpu.audio.spool import Spool
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.pipeline.threads import ThreadStream
from reflector_gpu.settings import Settings

OUTPUT_FIELD = "output_url"
"""The request field that says where the result goes."""

_PIECE = 65_536  # bytes that are sent at once
_AHEAD = 64  # steps of the encoder that nobody has taken note of


class Padding:
    """Puts silence before recordings. Safe to share between tasks."""

    def __init__(
        self, settings: Settings, scratch: ScratchFolder, guard: AddressGuard, limits: FetchLimits
    ) -> None:
        self._settings = settings
        self._scratch = scratch
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

        Returns the bytes of the WebM file that ``output_url`` got. ``tally`` hears how long the
        recording is. The caller closes ``spool``.

        Raises:
            UndecodableAudio, TooLarge, StorageFull: the recording cannot be padded.
            UrlForbidden, UpstreamFailed, UpstreamTimeout: it cannot be sent.
        """
        settings = self._settings
        with closing(Spool(settings.max_upload_bytes, self._scratch)) as output:
            file = WebmFile(output)
            steps = pad(
                spool.reader(),
                file,
                seconds,
                max_seconds=settings.max_audio_seconds,
                expect=tally.expect,
            )
            encoder = ThreadStream(_told(steps, seconds, spool, tally), ahead=_AHEAD, name="encode")
            with closing(encoder):
                result = _Growing(encoder, file, output)
                await result.begun()
                if spool.complete:
                    await result.completed()  # soon, and then more receivers take it
                await self._sender.send(output_url, result)
                return result.size


def _told(steps: Iterator[float], silence: float, spool: Spool, tally: Tally) -> Iterator[float]:
    """Pass ``steps`` on, and tell ``tally`` of them without the seconds of ``silence``."""
    for written in steps:
        tally.decoded(max(0.0, written - silence), spool.plausible_seconds)
        yield written


class _Growing:
    """The file that the encoder is writing, as the sender reads it."""

    def __init__(self, encoder: ThreadStream[float], file: WebmFile, spool: Spool) -> None:
        self._encoder = encoder
        self._file = file
        self._spool = spool

    @property
    def size(self) -> int:
        return self._spool.size

    @property
    def complete(self) -> bool:
        return self._encoder.ended

    async def begun(self) -> None:
        """Wait until the recording is known to have audio."""
        await anext(self._encoder, None)

    async def completed(self) -> None:
        async for _ in self._encoder:
            pass

    async def arriving(self) -> AsyncGenerator[bytes, None]:
        position = 0
        while True:
            ended = await anext(self._encoder, None) is None
            while position < self.size:
                data = self._spool.read_at(position, _PIECE)
                position += len(data)
                yield data
            if ended:
                return

    async def whole(self) -> AsyncGenerator[bytes, None]:
        beginning = bytes(self._file.beginning)
        yield beginning
        position = len(beginning)
        while position < self.size:
            data = self._spool.read_at(position, _PIECE)
            position += len(data)
            yield data
