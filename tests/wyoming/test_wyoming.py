"""Home Assistant's own client against a server that listens for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from reflector_gpu.cli.listen import listen
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Samples
from reflector_gpu.wyoming.server import Patience, WyomingServer
from tests.api.realtime.client import pcm
from tests.cli.program import environment, started
from tests.engines.tiny import PARAKEET, clips

CLIP = min(clips("en"), key=lambda clip: len(clip.samples))


PATIENT = Patience()


@asynccontextmanager
async def server(
    *, keys: bool = False, patience: Patience = PATIENT, **settings: object
) -> AsyncIterator[int]:
    """A server on a port of this machine."""
    service = Service(
        load_settings(model="tiny", model_paths={"tiny": str(PARAKEET)}, workers=1, **settings)
    )
    wyoming = WyomingServer(service, lambda: keys, patience)
    with listen("127.0.0.1", 0) as listener:
        service.start()
        await wyoming.start(listener)
        try:
            yield listener.getsockname()[1]
        finally:
            await wyoming.close()
            await service.close()


async def speak(client: AsyncTcpClient, samples: Samples, rate: int = 16_000) -> None:
    data = pcm(samples)
    await client.write_event(AudioStart(rate, 2, 1).event())
    for first in range(0, len(data), 2048):
        chunk = AudioChunk(rate, 2, 1, data[first : first + 2048])
        await client.write_event(chunk.event())
    await client.write_event(AudioStop().event())


async def answer(client: AsyncTcpClient, kind: str) -> list[Event]:
    """What comes, up to the first of this type."""
    found: list[Event] = []
    while (event := await client.read_event()) is not None:
        found.append(event)
        if event.type == kind:
            return found
    raise AssertionError(f"no {kind}, but {[event.type for event in found]}")


Talk = Callable[[AsyncTcpClient], Awaitable[None]]


def with_client(talk: Talk, **settings: object) -> None:
    async def run() -> None:
        async with server(**settings) as port, AsyncTcpClient("127.0.0.1", port) as client:  # type: ignore[arg-type]
            await talk(client)

    asyncio.run(run())


def test_the_server_says_what_it_can_do() -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(Describe().event())
        (event,) = await answer(client, "info")
        info = Info.from_event(event)
        (program,) = info.asr
        assert program.installed
        assert program.supports_transcript_streaming
        assert [(model.name, model.languages) for model in program.models] == [("tiny", ["en"])]
        await client.write_event(Ping(text="there?").event())
        (event,) = await answer(client, "pong")
        assert Pong.from_event(event).text == "there?"

    with_client(talk)


def test_speech_becomes_a_transcript_twice_on_a_connection() -> None:
    async def talk(client: AsyncTcpClient) -> None:
        for _ in range(2):
            await client.write_event(Transcribe(language="en").event())
            await speak(client, CLIP.samples)
            events = await answer(client, "transcript-stop")
            (transcript,) = (Transcript.from_event(e) for e in events if Transcript.is_type(e.type))
            assert transcript.text == CLIP.text
            chunks = [
                TranscriptChunk.from_event(e) for e in events if TranscriptChunk.is_type(e.type)
            ]
            assert "".join(chunk.text for chunk in chunks) == transcript.text
            assert TranscriptStop.is_type(events[-1].type)

    with_client(talk)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Transcribe(name="no-such-model").event(), "no-such-model"),
        (Transcribe(language="fr").event(), "only supports English"),
        (AudioStart(16_000, 2, 2).event(), "16-bit mono"),
        (AudioStart(11_025, 2, 1).event(), "16-bit mono"),
    ],
)
def test_what_cannot_be_done_is_told_and_the_connection_goes_on(event: Event, told: str) -> None:
    async def talk(client: AsyncTcpClient) -> None:
        await client.write_event(event)
        (found,) = await answer(client, "error")
        assert told in Error.from_event(found).text
        await speak(client, CLIP.samples)
        events = await answer(client, "transcript")
        assert Transcript.from_event(events[-1]).text == CLIP.text

    with_client(talk)


NO_EVENTS = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"[]\n",
    b"\xff\n",
    b'{"type": 3}\n',
    b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
    b'{"type": "describe", "data_length": -1}\n',
    b"[" * 60_000 + b"\n",
    b"[" * 70_000 + b"\n",
    b'{"type": "audio-chunk", "payload_length": 10}\n12345',
)


def test_bytes_that_are_no_events_end_the_connection() -> None:
    async def said(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        answered = await reader.read()
        writer.close()
        return answered

    async def run() -> None:
        async with server() as port:
            for data in NO_EVENTS:
                head = json.loads((await said(port, data)).split(b"\n")[0] or b'{"type": "error"}')
                assert head["type"] == "error"
            async with AsyncTcpClient("127.0.0.1", port) as client:
                await client.write_event(Ping().event())
                await answer(client, "pong")

    asyncio.run(run())


PING = b'{"type": "ping"}\n'


async def pinged_until_the_end(port: int, ping: bytes, *, reads: bool) -> None:
    """Sends nothing but pings until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError):
        while not reader.at_eof():
            writer.write(ping)
            await writer.drain()
            if reads:
                await reader.readline()
    writer.transport.abort()


def test_a_client_that_only_pings_gives_its_place_up() -> None:
    async def run() -> None:
        async with server(patience=Patience(silent=0.3)) as port:
            await pinged_until_the_end(port, PING, reads=True)

    asyncio.run(run())


def test_a_client_that_does_not_read_is_gone() -> None:
    large = json.dumps({"type": "ping", "data": {"text": "x" * 60_000}}).encode() + b"\n"

    async def run() -> None:
        async with server(patience=Patience(unread=0.3)) as port:
            await pinged_until_the_end(port, large, reads=False)

    asyncio.run(run())


def test_where_keys_are_needed_only_trusted_networks_may_speak() -> None:
    async def refused(client: AsyncTcpClient) -> None:
        (event,) = await answer(client, "error")
        assert "REFLECTOR_TRUSTED_NETWORKS" in Error.from_event(event).text

    async def trusted(client: AsyncTcpClient) -> None:
        await client.write_event(Ping().event())
        await answer(client, "pong")

    with_client(refused, keys=True)
    with_client(trusted, keys=True, trusted_networks=("127.0.0.1",))


@pytest.mark.slow
def test_the_program_serves_it_beside_http() -> None:
    async def transcript(port: int) -> str:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await speak(client, CLIP.samples)
            return Transcript.from_event((await answer(client, "transcript"))[-1]).text

    settings = environment(MODEL="tiny", MODEL_PATHS=json.dumps({"tiny": str(PARAKEET)}))
    with started("serve", "--port", "0", "--wyoming", "0", env=settings) as program:
        line = program.wait_for("Wyoming at tcp://127.0.0.1:")
        port = int(line.strip().rpartition(":")[2])
        assert asyncio.run(transcript(port)) == CLIP.text
