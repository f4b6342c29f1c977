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
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, TypeAlias

import numpy as np
import uvicorn
from fastapi import FastAPI, Form, Request, UploadFile

from benchmarks.server import KEY
from reflector_gpu.api import route_fields
from reflector_gpu.api.access import Access, RequireKey
from reflector_gpu.api.connection import Deadline, body_of, unless_disconnected
from reflector_gpu.api.intake import Intake
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.middleware import AnswerFailures, Observe
from reflector_gpu.api.route_table import RouteTable
from reflector_gpu.api.server import Config, ConnectionLimits, Server
from reflector_gpu.api.telemetry import Telemetry
from reflector_gpu.api.tracing import NO_TRACER
from reflector_gpu.api.upload import Form as UploadForm
from reflector_gpu.api.upload import read_form
from reflector_gpu.audio.chunk import chunks
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.messages import Cut, Ended
from reflector_gpu.decoding.platform import decoders
from reflector_gpu.decoding.tasks import Chunking
from reflector_gpu.engines.recognition.scripted import MODELS, SPEC, ScriptedRecogniser
from reflector_gpu.networks import Trust
from reflector_gpu.pipeline.tally import UNCOUNTED, Tally
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.service import Service
from reflector_gpu.service.worker_pools import WorkerPools, available_cores
from reflector_gpu.settings import Settings, load_settings
from reflector_gpu.types import Priority, Recognition, TranscribeOptions

DEMANDS = {
    "decoders": "a confined decoder for each recording",
    "worker": "a queue, and a worker that is watched and replaced",
    "door": "a key, and limits of connections",
    "client": "a place, a body that is timed, a deadline, and a client that may leave",
    "fields": "fields that are checked",
    "record": "an id, protecting headers and metrics",
}

Hear: TypeAlias = Callable[[Spool, Tally], Awaitable[bytes]]
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


def _confined() -> Hear:
    """`_speech` by the service's decoders."""
    started = decoders(load_settings().decoding_memory_bytes)
    started.start()
    cutting = Chunking(SPEC.max_chunk_seconds, SPEC.max_gap_seconds)

    async def speech(spool: Spool, tally: Tally) -> bytes:
        found = b""
        async with aclosing(started.run(cutting, spool)) as told:
            async for message, data in told:
                if isinstance(message, Cut):
                    tally.decoded(message.seconds, spool.plausible_seconds)
                    found += data
                elif isinstance(message, Ended):
                    tally.expect(message.seconds)
        return found

    return speech


def _unconfined() -> Hear:
    helpers = Helpers(available_cores(), _speech)

    async def speech(spool: Spool, _: Tally) -> bytes:
        return await helpers.ask(spool.read_at(0, spool.size))

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


async def parsed(
    file: UploadFile, model: Annotated[str, Form()], language: Annotated[str, Form()]
) -> dict[str, object]:
    """The route as FastAPI would have it."""
    with _spool(await file.read()) as spool:
        return await _transcript(spool, language, UNCOUNTED)


async def timed(request: Request) -> dict[str, object]:
    """The route for clients that may be slow, greedy, or gone."""
    settings: Settings = app.state.settings
    deadline = Deadline(request, settings.request_seconds)
    client: str = getattr(request.state, "client", "")
    async with deadline.kept(), AsyncExitStack() as held:
        permit = held.enter_context(app.state.admission.permit(Priority.LIVE, client))
        async with aclosing(body_of(request, settings.body_seconds, permit)) as body:
            form = await read_form(
                request.headers["content-type"],
                body,
                spool=lambda: Spool(settings.max_upload_bytes),
                max_bytes=settings.max_upload_bytes,
                max_files=settings.max_files,
            )
        held.enter_context(form)
        language = _checked(request, form)
        tally = held.enter_context(permit.recording())
        work = _transcript(form.files[0].spool, language, tally)
        found = await unless_disconnected(request, work)
        tally.finish()
        return found


def _checked(request: Request, form: UploadForm) -> str:
    """The language, of fields that are checked if somebody demands that."""
    intake: Intake | None = app.state.intake
    if intake is None:
        return dict(form.fields)["language"]
    return intake.form_fields(request, route_fields.TRANSCRIPTIONS, form).language or ""


async def _transcript(spool: Spool, language: str, tally: Tally) -> dict[str, object]:
    words = json.loads(await app.state.words(await app.state.speech(spool, tally)))
    text = " ".join(word for word, _, _ in words)
    return {"text": text, "language": language, "words": words}


async def _run(demands: Sequence[str]) -> None:
    app.state.settings = settings = load_settings(model="scripted", apikey=KEY)
    app.state.speech = _confined() if "decoders" in demands else _unconfined()
    app.state.words = _watched() if "worker" in demands else Helpers(1, _words).ask
    app.state.admission = Admission.of(settings)
    metrics = Metrics()
    app.state.intake = None
    if "fields" in demands:
        app.state.intake = Intake(Service(settings, watcher=metrics), metrics)
    timing = {"client", "fields"}.intersection(demands)
    app.post("/v1/audio/transcriptions")(timed if timing else parsed)
    if "door" in demands:
        access = Access(settings, Trust(settings.trusted_networks, settings.trusted_proxies))
        app.add_middleware(RequireKey, access=access, open_paths=())
    if "record" in demands:
        app.add_middleware(AnswerFailures)
        routes = RouteTable([app.router])
        app.add_middleware(Observe, telemetry=Telemetry(metrics, NO_TRACER), routes=routes)
    await _server(settings, demands).serve()


def _server(settings: Settings, demands: Sequence[str]) -> uvicorn.Server:
    if "door" not in demands:
        return uvicorn.Server(uvicorn.Config(app, port=0, log_level="info", access_log=False))
    logging.basicConfig(level=logging.INFO)  # the address is told at this level
    logging.getLogger("reflector_gpu").setLevel(logging.WARNING)  # as the service logs here
    config = Config(app, ConnectionLimits.of(settings), settings.shutdown_seconds)
    config.port = 0
    return Server(config)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1:]))
