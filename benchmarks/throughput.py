"""Does the service keep its engines busy? Their own best throughput against that through it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks.audio import SPEECH, heard, meeting, read, wav, write_mp3
from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.timing import seconds, times_as_fast
from reflector_gpu.audio.chunk import chunks
from reflector_gpu.engines.recognition import whisper
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.parakeet import models as parakeet
from reflector_gpu.engines.recognition.sphinx import SPEC, SphinxRecogniser
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.service.worker_pools import WorkerPools, available_cores
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Priority, Recognition, Samples, TranscribeOptions

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
SHARE, SCALING = 0.95, 1.85
CLIENTS = 16
CLIP_SECONDS = 10
CLIPS = 16
ROUNDS = 9
MINUTES, WARM_UP_MINUTES = 10, 0.5
UTTERANCES = 48

_english = TranscribeOptions(language="en")
_sphinx = SphinxRecogniser()


def run() -> list[Figure]:
    return [*_against_the_engine(), *_batching(), _workers()]


def _against_the_engine() -> list[Figure]:
    """As many decoders as cores, called directly, against as many clients as they can bear.

    The decoders are given what the service cuts out of the same uploads, silence left out. Every
    round has new processes: ten equal ones differed by a tenth for as long as they lived.
    """
    audio, length = meeting(), CLIP_SECONDS * SAMPLE_RATE
    clips = [audio[first : first + length] for first in range(0, 5 * length, length)]
    uploads = [wav(clip) for clip in (clips * CLIPS)[:CLIPS]]
    cut = [samples for upload in uploads for samples in _cut(upload)]
    ratios, shares = zip(*(_round(uploads, cut, number) for number in range(ROUNDS)), strict=True)
    ratio, cores = statistics.median(ratios), available_cores()
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} of {ROUNDS}"
    detail = f"PocketSphinx, {cores} cores, {CLIPS} clips of {CLIP_SECONDS} s, {spread}"
    name, share = "throughput, service / engine alone", statistics.median(shares)
    return [
        Figure(name, ratio, f">= {SHARE}", ratio >= SHARE, detail),
        Figure("share of the CPU that is not its engines'", share, "", True),
    ]


def _round(uploads: Sequence[bytes], cut: Sequence[Samples], number: int) -> tuple[float, float]:
    """How many times as fast the service is, and its own share of the CPU that it takes."""
    cores, fresh = available_cores(), multiprocessing.get_context("spawn")
    with (
        Server(model="sphinx") as server,
        server.client() as client,
        ThreadPoolExecutor(CLIENTS) as threads,
        ProcessPoolExecutor(cores, fresh, initializer=_load) as decoders,
    ):

        def ask(upload: bytes) -> None:
            client.post("/v1/audio/transcriptions", files={"file": upload}).raise_for_status()

        def served() -> None:
            list(threads.map(ask, uploads))

        def direct() -> None:
            list(decoders.map(_recognised, cut))

        list(threads.map(ask, uploads[:cores]))  # every process has its decoder now
        list(decoders.map(_recognised, cut[:cores]))
        before = _cpu(server.pid)
        if number % 2:
            ours, theirs = seconds(served), seconds(direct)
        else:
            theirs, ours = seconds(direct), seconds(served)
        own, workers = (now - then for now, then in zip(_cpu(server.pid), before, strict=True))
    return theirs / ours, own / (own + workers)


def _cpu(pid: int) -> tuple[float, float]:
    """Seconds of a server so far, without its workers, and of those."""
    service = psutil.Process(pid)
    times = [each.cpu_times() for each in (service, *service.children(recursive=True))]
    own, *workers = (float(each.user + each.system) for each in times)
    return own, sum(workers)


def _load() -> None:
    _sphinx.load()


def _cut(upload: bytes) -> list[Samples]:
    found = chunks(
        [heard(upload)], max_seconds=SPEC.max_chunk_seconds, max_gap=SPEC.max_gap_seconds
    )
    return [chunk.samples for chunk in found]


def _recognised(samples: Samples) -> int:
    return len(_sphinx.transcribe([samples], TranscribeOptions()))


def _batching() -> list[Figure]:
    """Chunks of many requests through one worker, in batches and one by one."""
    entries = json.loads((SPEECH / "speech.json").read_text())
    english = [read(SPEECH / name) for name, e in entries.items() if e["language"] == "en"]
    spoken = [english[i % len(english)] for i in range(UTTERANCES)]
    found = []
    for name, local in (("whisper-tiny", whisper.local), ("parakeet-tiny", parakeet.local)):
        model = local(name, FIXTURES / name)
        if model is None:
            raise RuntimeError(f"there is no model in {FIXTURES / name}")
        found.append(_batched(model, spoken))
    return found


def _batched(model: RecogniserModel, spoken: Sequence[Samples]) -> Figure:
    single = replace(model, name="single", spec=replace(model.spec, max_batch=1))
    pools = WorkerPools(load_settings(workers=1), ())
    with asyncio.Runner() as loop, ExitStack() as stack:
        stack.callback(lambda: loop.run(pools.close()))

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
                    for samples in spoken
                )
                return list(await asyncio.gather(*jobs))

            return lambda: loop.run(submitted())

        together, one_by_one = (all_of_them(pools.pool(m)) for m in (model, single))
        together(), one_by_one()
        ratio, spread = times_as_fast(together, one_by_one)
    name = f"{model.name}: batches over requests / one by one"
    return Figure(name, ratio, "> 1", ratio > 1, f"{len(spoken)} chunks, {spread}")


def _workers() -> Figure:
    """One long recording with a process for each core, against one process."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path, short = Path(folder) / "long.mp3", Path(folder) / "short.mp3"
        write_mp3(path, meeting(), MINUTES)
        write_mp3(short, meeting(), WARM_UP_MINUTES)

        def asking(workers: int) -> Callable[[], object]:
            server = stack.enter_context(Server(model="sphinx", workers=str(workers)))
            client = stack.enter_context(server.client())

            def ask(path: Path) -> None:
                with path.open("rb") as file:
                    answer = client.post("/v1/audio/transcriptions", files={"file": file})
                answer.raise_for_status()

            ask(short)
            return lambda: ask(path)

        cores = available_cores()
        ratio, spread = times_as_fast(asking(cores), asking(1), rounds=3)
    target = SCALING * cores / 2
    detail = f"PocketSphinx, {MINUTES} min, {spread}"
    name = f"one long file, {cores} workers / one"
    return Figure(name, ratio, f">= {target:g}", ratio >= target, detail)
