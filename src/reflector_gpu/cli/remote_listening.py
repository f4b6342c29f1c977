"""``listen --server``: words of a realtime session with a server, as they are heard here."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from reflector_gpu import pcm
from reflector_gpu.cli.server_address import base_url, headers
from reflector_gpu.cli.server_errors import reason, refusal
from reflector_gpu.errors import InvalidRequest, UpstreamFailed, UpstreamTimeout
from reflector_gpu.live.base import Heard
from reflector_gpu.types import SAMPLE_RATE, Samples, Word

_PATH = "/v1/realtime?intent=transcription"
_EVENTS = "conversation.item.input_audio_transcription"
_COMMIT, _END = "last-commit", "end"
"""The ids of our last two events. The first is refused if nothing is left to be committed; the
second is refused in any case, which shows that everything before it has been taken in."""

_SPELLED = re.compile(r"\s*\S+")


@asynccontextmanager
async def session(
    server: str, key: str | None, transcription: Mapping[str, object]
) -> AsyncIterator[RemoteSession]:
    """A realtime session with ``server``, whose ``transcription`` is set as the protocol has it.

    Raises:
        InvalidRequest: the address or the key cannot be right.
        UpstreamFailed, UpstreamTimeout: the server refuses, or cannot be reached.
    """
    base = base_url(server)
    address = f"ws{base[len('http') :]}{_PATH}"
    try:
        opened = connect(address, additional_headers=headers(key), max_size=None)
        socket = await opened
    except InvalidURI as error:
        raise InvalidRequest(f"The server's URL is not valid: {error}") from None
    except InvalidStatus as error:
        raise refusal(error.response.status_code, bytes(error.response.body or b"")) from None
    except TimeoutError as error:
        raise UpstreamTimeout("The server does not answer in time.") from error
    except (OSError, InvalidHandshake) as error:
        raise UpstreamFailed(f"The server at {base} cannot be reached: {reason(error)}.") from error
    try:
        opened_session = RemoteSession(socket)
        await opened_session.begin(transcription)
        yield opened_session
    except ConnectionClosed as error:
        raise UpstreamFailed("The connection to the server broke.") from error
    finally:
        await socket.close()


class RemoteSession:
    """Sends what is spoken, and gives what is heard."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._waiting: set[str] = set()  # turns that have ended, whose words are not complete
        self._begun: set[str] = set()  # turns of which words have come
        self._ended = False

    async def begin(self, transcription: Mapping[str, object]) -> None:
        """Set up the session, which takes 16-bit samples at `SAMPLE_RATE`."""
        audio = {
            "format": {"type": "audio/pcm", "rate": SAMPLE_RATE},
            "transcription": {**transcription, "tentative": True},
        }
        await self._send("session.update", session={"audio": {"input": audio}})
        while (event := await self._next())["type"] != "session.updated":
            if event["type"] == "error":
                raise _failure(event)

    async def speak(self, blocks: AsyncGenerator[Samples, None]) -> None:
        """Send ``blocks`` as they come, and then the end."""
        async with aclosing(blocks):
            async for block in blocks:
                audio = base64.b64encode(pcm.encoded(block)).decode()
                await self._send("input_audio_buffer.append", audio=audio)
        await self._send("input_audio_buffer.commit", event_id=_COMMIT)
        await self._send("conversation.item.retrieve", event_id=_END, item_id=_END)

    async def heard(self) -> AsyncGenerator[Heard, None]:
        """What is heard, until the end.

        Raises:
            UpstreamFailed: the server failed on it.
        """
        while not self._ended or self._waiting:
            event = await self._next()
            kind, item = event["type"], str(event.get("item_id"))
            if kind == "input_audio_buffer.committed":
                self._waiting.add(item)
            elif kind == f"{_EVENTS}.delta":
                yield Heard(self._words(item, str(event.get("delta"))))
            elif kind == f"{_EVENTS}.tentative":
                yield Heard(tentative=_words(f" {event.get('text')}"))
            elif kind == f"{_EVENTS}.completed":
                self._waiting.discard(item)
            elif kind == f"{_EVENTS}.failed":
                raise _failure(event)
            elif kind == "error":
                self._refused(event)

    def _refused(self, event: Mapping[str, object]) -> None:
        about = _error(event).get("event_id")
        if about not in (_COMMIT, _END):
            raise _failure(event)
        self._ended = self._ended or about == _END

    def _words(self, item: str, delta: str) -> tuple[Word, ...]:
        """Those of ``delta``. A turn is parted from the one before it by a space."""
        first = item not in self._begun
        self._begun.add(item)
        return _words(f" {delta}" if first else delta)

    async def _send(self, kind: str, **fields: object) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def _next(self) -> Mapping[str, object]:
        try:
            event: object = json.loads(await self._socket.recv())
        except ValueError:
            event = None
        if not isinstance(event, dict) or "type" not in event:
            raise UpstreamFailed("What the server sends is no event; is it a reflector-gpu?")
        return event


def _words(text: str) -> tuple[Word, ...]:
    """The words that ``text`` spells, whose times are not known."""
    found = (match[0] for match in _SPELLED.finditer(text))
    return tuple(Word(one.strip(), 0.0, 0.0, glued=not one[0].isspace()) for one in found)


def _error(event: Mapping[str, object]) -> Mapping[str, object]:
    error = event.get("error")
    return error if isinstance(error, dict) else {}


def _failure(event: Mapping[str, object]) -> UpstreamFailed:
    return UpstreamFailed(str(_error(event).get("message", "The server failed.")))
