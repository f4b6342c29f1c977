"""Does the service keep its engines busy? Their own best throughput against that through it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.audio import SPEECH, meeting, read, wav, write_mp3
from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.timing import times_as_fast
from reflector_gpu.engines import parakeet, whisper
from reflector_gpu.engines.base import Model
from reflector_gpu.engines.sphinx import SphinxTranscriber
from reflector_gpu.hosts import Hosts, available_cores
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Priority, Recognition, Samples, TranscribeOptions

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
SHARE, SCALING = 0.95, 1.85
CLIENTS = 16
CLIP_SECONDS = 10
CLIPS = 24
MINUTES = 10
UTTERANCES = 48

_english = TranscribeOptions(language="en")
_sphinx = SphinxTranscriber()


def run() -> list[Figure]:
    return [_against_the_engine(), *_batching(), _workers()]


def _against_the_engine() -> Figure:
    """As many decoders as cores, called directly, against as many clients as they can bear."""
    audio, length = meeting(), CLIP_SECONDS * SAMPLE_RATE
    clips = [audio[first : first + length] for first in range(0, 5 * length, length)]
    clips = (clips * CLIPS)[:CLIPS]
    uploads = [wav(clip) for clip in clips]
    fresh = multiprocessing.get_context("spawn")
    with (
        Server(model="sphinx") as server,
        server.client() as client,
        ThreadPoolExecutor(CLIENTS) as threads,
        ProcessPoolExecutor(available_cores(), fresh, initializer=_load) as processes,
    ):

        def ask(upload: bytes) -> None:
            client.post("/v1/audio/transcriptions", files={"file": upload}).raise_for_status()

        ratio, spread = times_as_fast(
            lambda: list(threads.map(ask, uploads)),
            lambda: list(processes.map(_heard, clips)),
            rounds=3,
        )
    detail = f"PocketSphinx, {available_cores()} cores, {CLIPS} clips of {CLIP_SECONDS} s, {spread}"
    return Figure(
        "throughput, service / engine alone", ratio, f">= {SHARE}", ratio >= SHARE, detail
    )


def _load() -> None:
    _sphinx.load()


def _heard(samples: Samples) -> int:
    return len(_sphinx.transcribe([samples], TranscribeOptions()))


def _batching() -> list[Figure]:
    """Chunks of many requests through one worker, in batches and one by one."""
    entries = json.loads((SPEECH / "speech.json").read_text())
    english = [read(SPEECH / name) for name, e in entries.items() if e["language"] == "en"]
    chunks = [english[i % len(english)] for i in range(UTTERANCES)]
    tiny = [
        whisper.local("whisper-tiny", FIXTURES / "whisper-tiny"),
        parakeet.local("parakeet-tiny", FIXTURES / "parakeet-tiny"),
    ]
    return [_batched(model, chunks) for model in tiny if model is not None]


def _batched(model: Model, chunks: Sequence[Samples]) -> Figure:
    single = replace(model, name="single", spec=replace(model.spec, max_batch=1))
    hosts = Hosts(load_settings(workers=1), ())
    with asyncio.Runner() as loop, ExitStack() as stack:
        stack.callback(lambda: loop.run(hosts.close()))

        def all_of_them(pool: Pool[Samples, Recognition]) -> Callable[[], object]:
            async def submitted() -> list[Recognition]:
                await pool.ready(60)
                jobs = (
                    pool.submit(
                        samples,
                        _english,
                        cost=max(len(samples) / SAMPLE_RATE, model.spec.window_seconds),
                        priority=Priority.LIVE,
                    )
                    for samples in chunks
                )
                return list(await asyncio.gather(*jobs))

            return lambda: loop.run(submitted())

        together, one_by_one = (all_of_them(hosts.recogniser(m)) for m in (model, single))
        together(), one_by_one()
        ratio, spread = times_as_fast(together, one_by_one)
    name = f"{model.name}: batches over requests / one by one"
    return Figure(name, ratio, "> 1", ratio > 1, f"{len(chunks)} chunks, {spread}")


def _workers() -> Figure:
    """One long recording with a process for each core, against one process."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "long.mp3"
        write_mp3(path, meeting(), MINUTES)

        def asking(workers: int) -> Callable[[], object]:
            server = stack.enter_context(Server(model="sphinx", workers=str(workers)))
            client = stack.enter_context(server.client())

            def ask() -> None:
                with path.open("rb") as file:
                    answer = client.post("/v1/audio/transcriptions", files={"file": file})
                answer.raise_for_status()

            return ask

        cores = available_cores()
        ratio, spread = times_as_fast(asking(cores), asking(1), rounds=3)
    target = SCALING * cores / 2
    detail = f"PocketSphinx, {MINUTES} min, {spread}"
    name = f"one long file, {cores} workers / one"
    return Figure(name, ratio, f">= {target:g}", ratio >= target, detail)
