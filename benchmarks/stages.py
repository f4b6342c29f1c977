"""Where time goes: that of a small request's client, and the CPU that a long recording takes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import uvicorn

from benchmarks.clients import Tally, keep_asking
from benchmarks.server import KEY
from reflector_gpu.api import intake, responses
from reflector_gpu.api.app import create_app
from reflector_gpu.api.upload import read_form
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool, SpoolReader
from reflector_gpu.audio.tracks import TrackWish
from reflector_gpu.audio.vad import VoiceActivity
from reflector_gpu.decoding import tasks
from reflector_gpu.decoding.tasks import Chunking
from reflector_gpu.engines.recognition.scripted import SPEC
from reflector_gpu.pipeline.reading import Reading
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Condition, Samples

SECONDS = 4.0

P = ParamSpec("P")
T = TypeVar("T")


def shares(message: bytes) -> dict[str, float]:
    """The share of each stage in the time that a client waits for an answer."""
    spent: defaultdict[str, float] = defaultdict(float)

    def timed(stage: str, work: Callable[P, T]) -> Callable[P, T]:
        def measured(*args: P.args, **kwargs: P.kwargs) -> T:
            began = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                spent[stage] += time.perf_counter() - began

        return measured

    def awaited(stage: str, work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        async def measured(*args: P.args, **kwargs: P.kwargs) -> T:
            began = time.perf_counter()
            try:
                return await work(*args, **kwargs)
            finally:
                spent[stage] += time.perf_counter() - began

        return measured

    tally = Tally()
    with _server() as port, ExitStack() as patches:
        asyncio.run(keep_asking("127.0.0.1", port, message, 1.0, Tally()))
        for owner, name, wrapped in (
            (intake, "read_form", awaited("form", read_form)),
            (Pool, "submit", awaited("queue and worker", Pool.submit)),
            (Reading, "_decode", awaited("decoding and voice", Reading._decode)),
            (responses, "of_body", timed("answer", responses.of_body)),
        ):
            patches.enter_context(patch.object(owner, name, wrapped))
        asyncio.run(keep_asking("127.0.0.1", port, message, SECONDS, tally))
    total = sum(tally.seconds)
    spent["everything else"] = total - sum(spent.values())
    return {stage: seconds / total for stage, seconds in spent.items()}


def shares_of_recording(path: Path) -> dict[str, float]:
    """The share of each stage in the CPU that a recording takes before the engine hears it."""
    spent: defaultdict[str, float] = defaultdict(float)

    def noted(stage: str, work: Callable[P, T]) -> Callable[P, T]:
        def measured(*args: P.args, **kwargs: P.kwargs) -> T:
            began = time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                spent[stage] += time.thread_time() - began

        return measured

    def noted_blocks(
        reader: SpoolReader,
        *,
        max_seconds: float,
        expect: Callable[[float], None],
        track: TrackWish,
        notice: Callable[[Condition], None],
        ahead: object,
    ) -> Iterator[Samples]:
        blocks = decode(reader, max_seconds=max_seconds, expect=expect, track=track, notice=notice)
        following = noted("decoding", blocks.__next__)
        with suppress(StopIteration):
            while True:
                yield following()

    def whole() -> None:
        task = Chunking(SPEC.max_chunk_seconds, SPEC.max_gap_seconds)
        with Spool.of(path) as spool:
            for _ in task.run(spool.reader(), None, lambda _: None):
                pass

    probabilities = noted("voice", VoiceActivity.probabilities)
    with (
        patch.object(tasks, "decode", noted_blocks),
        patch.object(VoiceActivity, "probabilities", probabilities),
    ):
        began = time.process_time()
        whole()
        total = time.process_time() - began
    spent["everything else"] = total - sum(spent.values())
    return {stage: seconds / total for stage, seconds in spent.items()}


@contextmanager
def _server() -> Iterator[int]:
    """A server inside this process, where its stages can be watched."""
    settings = load_settings(model="scripted", apikey=KEY, port=0)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
