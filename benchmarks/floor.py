"""What our design cannot do without, with the least code that does it.

It parses an upload as the bare route does, has another process decode it and find the speech, hands
that to a third with the engine, and answers in JSON. It has no key, no limit, no queue, no time-out
and no sandbox, counts nothing, and a process that dies is not replaced.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import struct
from collections.abc import Callable
from typing import Annotated

import numpy as np
import uvicorn
from fastapi import FastAPI, Form, UploadFile

from reflector_gpu.audio.chunk import chunks
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.engines.recognition.scripted import SPEC, ScriptedRecogniser
from reflector_gpu.service.worker_pools import available_cores
from reflector_gpu.types import Recognition, TranscribeOptions

_LENGTH = struct.Struct("<I")  # in front of each message
_FORK = multiprocessing.get_context("fork")


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
    with Spool(limit=len(recording)) as spool:
        spool.write(recording)
        spool.finish()
        (chunk,) = chunks(
            decode(spool.reader()),
            max_seconds=SPEC.max_chunk_seconds,
            max_gap=SPEC.max_gap_seconds,
        )
        return chunk.samples.tobytes()


def _words(samples: bytes) -> bytes:
    (found,) = ScriptedRecogniser().transcribe(
        [np.frombuffer(samples, np.float32)], TranscribeOptions(language="en")
    )
    assert isinstance(found, Recognition)
    words = [word for segment in found.segments for word in segment.words]
    return json.dumps([[word.text, word.start, word.end] for word in words]).encode()


app = FastAPI()


@app.post("/v1/audio/transcriptions")
async def transcribe(
    file: UploadFile, model: Annotated[str, Form()], language: Annotated[str, Form()]
) -> dict[str, object]:
    samples = await app.state.decoders.ask(await file.read())
    words = json.loads(await app.state.engine.ask(samples))
    text = " ".join(word for word, _, _ in words)
    return {"text": text, "language": language, "words": words}


async def _run() -> None:
    app.state.decoders = Helpers(available_cores(), _speech)
    app.state.engine = Helpers(1, _words)
    await uvicorn.Server(uvicorn.Config(app, port=0, log_level="info", access_log=False)).serve()


if __name__ == "__main__":
    asyncio.run(_run())
