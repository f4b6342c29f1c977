"""What our design cannot do without, with the least code that does it.

It parses an upload as the bare route does, has another process decode it and find the speech, hands
that to a third with the engine, and answers in JSON. By itself it has no key, no limit, no queue,
no time-out and no sandbox, counts nothing, and a process that dies is not replaced.

The service promises more. Each of the `DEMANDS` that is named on the command line takes a part of
the service in place of the least code, so that what it costs can be measured.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Annotated, TypeAlias

import numpy as np
import uvicorn
from fastapi import FastAPI, Form, UploadFile
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.server import KEY
from reflector_gpu.api.access import Access, RequireKey
from reflector_gpu.api.server import Config, ConnectionLimits, Server
from reflector_gpu.audio.chunk import chunks
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.messages import Cut
from reflector_gpu.decoding.platform import decoders
from reflector_gpu.decoding.tasks import Chunking
from reflector_gpu.engines.recognition.scripted import MODELS, SPEC, ScriptedRecogniser
from reflector_gpu.networks import Trust
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.service.worker_pools import WorkerPools, available_cores
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority, Recognition, TranscribeOptions

DEMANDS = {
    "decoders": "a confined decoder for each recording",
    "worker": "a queue, and a worker that is watched and replaced",
    "door": "a key, a place, and limits of connections",
}

Ask: TypeAlias = Callable[[bytes], Awaitable[bytes]]

_LENGTH = struct.Struct("<I")  # in front of each message
_FORK = multiprocessing.get_context("fork")
_OPTIONS = TranscribeOptions(language="en")


class Helper:
    """A process that answers one message after the other."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._socket, theirs = socket.socketpair()
        _FORK.Process(target=_serve, args=(self._socket, theirs, answer), daemon=True).start()
        theirs.close()
        self._socket.setblocking(False)

    async def ask(self, message: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, _LENGTH.pack(len(message)) + message)
        found = await loop.sock_recv(self._socket, 65_536)
        while len(found) < _LENGTH.size + _LENGTH.unpack_from(found)[0]:
            found += await loop.sock_recv(self._socket, 65_536)
        return found[_LENGTH.size :]


class Helpers:
    """As many processes for the same purpose as can work at once."""

    def __init__(self, count: int, answer: Callable[[bytes], bytes]) -> None:
        self._idle: asyncio.Queue[Helper] = asyncio.Queue()
        for _ in range(count):
            self._idle.put_nowait(Helper(answer))

    async def ask(self, message: bytes) -> bytes:
        helper = await self._idle.get()
        try:
            return await helper.ask(message)
        finally:
            self._idle.put_nowait(helper)


def _serve(
    asker: socket.socket, connection: socket.socket, answer: Callable[[bytes], bytes]
) -> None:
    asker.close()  # so that the connection ends with the server
    while head := connection.recv(_LENGTH.size, socket.MSG_WAITALL):
        found = answer(connection.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL))
        connection.sendall(_LENGTH.pack(len(found)) + found)


def _speech(recording: bytes) -> bytes:
    with _spool(recording) as spool:
        (chunk,) = chunks(
            decode(spool.reader()),
            max_seconds=SPEC.max_chunk_seconds,
            max_gap=SPEC.max_gap_seconds,
        )
        return chunk.samples.tobytes()


def _words(samples: bytes) -> bytes:
    (found,) = ScriptedRecogniser().transcribe([np.frombuffer(samples, np.float32)], _OPTIONS)
    assert isinstance(found, Recognition)
    return _listed(found)


def _listed(found: Recognition) -> bytes:
    words = [word for segment in found.segments for word in segment.words]
    return json.dumps([[word.text, word.start, word.end] for word in words]).encode()


def _spool(recording: bytes) -> Spool:
    spool = Spool(limit=len(recording))
    spool.write(recording)
    spool.finish()
    return spool


def _confined() -> Ask:
    """`_speech` by the service's decoders."""
    started = decoders(load_settings().decoding_memory_bytes)
    started.start()
    cutting = Chunking(SPEC.max_chunk_seconds, SPEC.max_gap_seconds)

    async def speech(recording: bytes) -> bytes:
        with _spool(recording) as spool:
            async with aclosing(started.run(cutting, spool)) as told:
                (samples,) = [data async for message, data in told if isinstance(message, Cut)]
        return bytes(samples)

    return speech


def _watched() -> Ask:
    """`_words` by the service's workers."""
    pool = WorkerPools(load_settings(), ()).pool(MODELS[0])

    async def words(samples: bytes) -> bytes:
        item = np.frombuffer(samples, np.float32)
        found = await pool.submit(item, _OPTIONS, cost=SPEC.window_seconds, priority=Priority.LIVE)
        return _listed(found)

    return words


app = FastAPI()


@app.post("/v1/audio/transcriptions")
async def transcribe(
    file: UploadFile, model: Annotated[str, Form()], language: Annotated[str, Form()]
) -> dict[str, object]:
    samples = await app.state.speech(await file.read())
    words = json.loads(await app.state.words(samples))
    text = " ".join(word for word, _, _ in words)
    return {"text": text, "language": language, "words": words}


class Admit:
    """Middleware that gives a place for as long as a request takes."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._admission.permit(Priority.LIVE, scope["state"]["client"]):
            await self._app(scope, receive, send)


async def _run(demands: Sequence[str]) -> None:
    app.state.speech = (
        _confined() if "decoders" in demands else Helpers(available_cores(), _speech).ask
    )
    app.state.words = _watched() if "worker" in demands else Helpers(1, _words).ask
    await _server(demands).serve()


def _server(demands: Sequence[str]) -> uvicorn.Server:
    if "door" not in demands:
        return uvicorn.Server(uvicorn.Config(app, port=0, log_level="info", access_log=False))
    settings = load_settings(apikey=KEY)
    app.add_middleware(Admit, admission=Admission.of(settings))
    access = Access(settings, Trust(settings.trusted_networks, settings.trusted_proxies))
    app.add_middleware(RequireKey, access=access, open_paths=())
    logging.basicConfig(level=logging.INFO)
    config = Config(app, ConnectionLimits.of(settings), settings.shutdown_seconds)
    config.port = 0
    return Server(config)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1:]))
