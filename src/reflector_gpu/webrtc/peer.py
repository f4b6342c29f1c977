"""One peer, by aiortc. No other module may import that library: it is an extra."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from reflector_gpu.errors import InvalidRequest, Overloaded, ReflectorError, Unavailable
from reflector_gpu.realtime.server_events import ErrorEvent, Problem
from reflector_gpu.types import SAMPLE_RATE, Samples
from reflector_gpu.webrtc.hearing import Hearing
from reflector_gpu.webrtc.presence import Presence

CHANNEL = "oai-events"
"""The data channel of the events."""

_QUIET_SECONDS = 0.5  # after which a peer that sends no audio counts as silent
_PIECE = SAMPLE_RATE * 60 // 1000  # samples that are worked on at once
_MOST_WAITING = 30 * SAMPLE_RATE  # samples that wait to be heard
_MOST_TEXT = 1024 * 1024  # bytes of events that wait to be read, by the server or the peer
_MOST_UNFINISHED = 1024 * 1024  # bytes of events that are yet to end, beyond what we have announced
_WATCH_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_LAST_SECONDS = 2.0  # that a peer gets to read the last events

logger = logging.getLogger(__name__)
# More would name the addresses of peers, and say something of each broken packet.
for library in ("aioice", "aiortc"):
    logging.getLogger(library).setLevel(logging.ERROR)


class Peer:
    """Fulfils `reflector_gpu.realtime.conversation.Line`. Whoever makes it closes it."""

    def __init__(self, patience: float) -> None:
        """It is gone if it reads no events for ``patience`` seconds."""
        self.stopping = asyncio.Event()
        self.gone = asyncio.Event()
        self.ready = asyncio.Event()
        """The peer is connected, and has opened the data channel."""
        self._patience = patience
        # No STUN server: its default would be Google's.
        configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._connection = RTCPeerConnection(configuration)
        self._channel: RTCDataChannel | None = None
        self._incoming: asyncio.Queue[str | bytes | Samples | ReflectorError] = asyncio.Queue()
        self._waiting_samples = 0
        self._waiting_bytes = 0
        self._broken = False
        self._presence = Presence()
        self._drained = asyncio.Event()
        self._closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        audio = self._connection.addTransceiver("audio", direction="recvonly")
        known = RTCRtpReceiver.getCapabilities("audio")
        assert known
        audio.setCodecPreferences([c for c in known.codecs if c.mimeType == "audio/opus"])
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("datachannel", self._on_channel)
        self._connection.on("track", self._on_track)

    async def answer(self, offer: str) -> str:
        """The answer to an ``offer`` that was checked.

        Raises:
            InvalidRequest: there is none.
            Unavailable: this machine has no address but that of its loopback.
        """
        self._start(self._watch())
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await self._connection.setLocalDescription()
        except Exception:  # noqa: BLE001  the library's parser raises whatever it stumbles over
            raise InvalidRequest(
                "The SDP offer cannot be understood; send that of an RTCPeerConnection as it is.",
                param="sdp",
            ) from None
        answer: str = self._connection.localDescription.sdp
        if "a=candidate:" not in answer:
            raise Unavailable("This server has no address at which a peer could reach it.")
        assert self._connection.sctp
        for protocol in self._connection.sctp.transport.transport._connection._protocols:  # noqa: SLF001
            self._presence.watch(protocol.transport)
        return answer

    # The line

    async def receive(self) -> str | bytes | Samples | None:
        """The peer's next event, or what it says.

        Raises:
            Overloaded: more has come than can wait.
        """
        received = await self._incoming.get()
        if isinstance(received, ReflectorError):
            raise received
        if isinstance(received, str | bytes):
            self._waiting_bytes -= len(received)
        else:
            self._waiting_samples -= len(received)
        return received

    async def send(self, text: str) -> None:
        """Send an event, unless the peer has left. Wait if it has much to read."""
        channel = self._channel
        if channel is None or self.gone.is_set():
            return
        try:
            channel.send(text)
        except ValueError:  # the peer has said how long a message may be
            error = InvalidRequest("The answer is longer than a message that you take.")
            channel.send(ErrorEvent(error=Problem.of(error)).model_dump_json())
        except InvalidStateError:
            return
        if channel.bufferedAmount > _MOST_TEXT:
            self._drained.clear()
            try:
                async with asyncio.timeout(self._patience):
                    await self._drained.wait()
            except TimeoutError:
                self.gone.set()

    async def close(self, code: int = 0, reason: str = "") -> None:
        """Let the peer read the last events, and end the connection. There are no codes."""
        if self._channel and not self.gone.is_set():
            self._channel.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._closed.wait()
        self.gone.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()

    # What the library calls

    def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._leave()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label != CHANNEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = _MOST_TEXT // 2
        channel.on("message", self._on_message)
        channel.on("bufferedamountlow", self._drained.set)
        channel.on("close", self._leave)
        self.ready.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._start(self._listen(track))

    def _on_message(self, event: str | bytes) -> None:
        self._waiting_bytes += len(event)
        if self._waiting_bytes > _MOST_TEXT:
            self._break_off("Events come faster than they can be answered.")
        else:
            self._put(event)

    def _leave(self) -> None:
        self._closed.set()
        self._drained.set()
        self.gone.set()

    # What comes of it

    def _hear(self, samples: Samples) -> None:
        self._waiting_samples += len(samples)
        if self._waiting_samples > _MOST_WAITING:
            self._break_off("Audio comes faster than it can be recognised; try again later.")
        elif len(samples):
            self._put(samples)

    def _break_off(self, why: str) -> None:
        """Have the conversation end: nothing that comes from now on is kept."""
        self._put(Overloaded(why, retry_after=_RETRY_SECONDS))
        self._broken = True

    def _put(self, received: str | bytes | Samples | ReflectorError) -> None:
        if not self._broken:
            self._incoming.put_nowait(received)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a peer's connection failed", exc_info=error)
            self._leave()

    async def _listen(self, track: MediaStreamTrack) -> None:
        """Hear what comes on ``track`` until it ends."""
        hearing = Hearing()
        piece: list[Samples] = []
        while True:
            try:
                async with asyncio.timeout(_QUIET_SECONDS):
                    frame = await track.recv()
            except TimeoutError:
                piece.append(hearing.silence(_QUIET_SECONDS))
            except MediaStreamError:
                return
            else:
                assert isinstance(frame, AudioFrame)
                piece.append(hearing.frame(frame.to_ndarray()[0], frame.pts or 0))
            if sum(map(len, piece)) >= _PIECE:
                self._hear(np.concatenate(piece))
                piece.clear()

    async def _watch(self) -> None:
        """Leave a peer that has vanished, or that fills the memory with events that do not end: the
        library announces how much it takes, and takes more."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._presence.vanished():
                self._leave()
            channels = self._connection.sctp
            if channels and channels._advertised_rwnd < -_MOST_UNFINISHED:  # noqa: SLF001
                self._leave()
