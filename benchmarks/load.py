"""Ten times as many requests as the server can work on, for a minute; then whether it is idle."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.audio import utterances, wav
from benchmarks.clients import Tally, answer, keep_asking, raw
from benchmarks.figures import Figure
from benchmarks.server import KEY, Server
from benchmarks.watch import Watch
from reflector_gpu.types import SAMPLE_RATE

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
OVERLOAD = 10
SECONDS = 60.0
PLACES = 16
CLIP_SECONDS = 5
CLIENT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class _Held:
    """What a process tree holds on to."""

    processes: int
    files: int
    shared_memory: int

    @classmethod
    def by(cls, pid: int) -> _Held:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        links = [link for process in tree for link in _links(process.pid)]
        return cls(
            len(tree),
            sum("(deleted)" in link for link in links),
            len(list(Path("/dev/shm").iterdir())),
        )


def run() -> list[Figure]:
    clip = wav(utterances()[: CLIP_SECONDS * SAMPLE_RATE])
    message = raw(
        httpx.Request(
            "POST",
            "http://localhost/v1/audio/transcriptions",
            headers={"Authorization": f"Bearer {KEY}"},
            files={"file": ("clip.wav", clip)},
        )
    )
    paths = json.dumps({"tiny": str(FIXTURES / "whisper-tiny")})
    with Server(model="tiny", model_paths=paths, live_requests=str(PLACES)) as server:
        port = httpx.URL(server.url).port or 80
        asyncio.run(_closed_loop(port, message, 3))
        capacity = asyncio.run(_closed_loop(port, message, 10))
        before = _Held.by(server.pid)
        with Watch(server.pid) as watch:
            began = time.monotonic()
            tally, others = asyncio.run(_open_loop(port, message, capacity * OVERLOAD))
        memory = [size for when, size in watch.memory if when < began + SECONDS]
        after = _settled(server.pid, before)
    return [
        _latency(tally, capacity),
        _answers(tally, others),
        _memory(memory),
        Figure(
            "files, processes and shared memory left over",
            float(after != before),
            "= 0",
            after == before,
            f"{before} before, {after} after",
        ),
    ]


async def _closed_loop(port: int, message: bytes, seconds: float) -> float:
    """Requests a second, with every place taken all the time."""
    tally = Tally()
    await asyncio.gather(
        *(keep_asking("127.0.0.1", port, message, seconds, tally) for _ in range(PLACES))
    )
    return tally.statuses[200] / seconds


async def _open_loop(port: int, message: bytes, rate: float) -> tuple[Tally, list[str]]:
    """Requests that come at random times whatever becomes of those before; and odd ends."""
    tally, odd = Tally(), list[str]()
    dice = random.Random(0)

    async def ask() -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(message)
                    status, headers = await answer(reader)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            odd.append(type(error).__name__)
            return
        tally.statuses[status] += 1
        if status == 200:
            tally.seconds.append(time.perf_counter() - began)
        elif int(headers.get("retry-after", "0")) < 1:
            odd.append(f"{status} without Retry-After")

    async with asyncio.TaskGroup() as group:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        until = next_at + SECONDS
        while next_at < until:
            await asyncio.sleep(max(0.0, next_at - loop.time()))
            group.create_task(ask())
            next_at += dice.expovariate(rate)
    return tally, odd


def _latency(tally: Tally, capacity: float) -> Figure:
    p95 = statistics.quantiles(tally.seconds, n=20)[-1]
    bound = PLACES / capacity
    detail = (
        f"{PLACES} places at {capacity:.1f} requests a second are {bound:.2f} s; "
        f"p95 of the admitted {p95:.2f} s"
    )
    name = f"load x {OVERLOAD}: p95 of the admitted / what the bound predicts"
    return Figure(name, p95 / bound, "<= 2", p95 <= 2 * bound, detail)


def _answers(tally: Tally, odd: list[str]) -> Figure:
    good = tally.statuses[200] + tally.statuses[429]
    share = good / (sum(tally.statuses.values()) + len(odd))
    detail = f"{dict(tally.statuses)}, otherwise: {odd[:5] or 'none'}"
    return Figure("share of requests that end in 200 or 429", share, "= 1", share == 1, detail)


def _memory(series: list[int]) -> Figure:
    middle = len(series) // 2
    first, second = statistics.mean(series[:middle]), statistics.mean(series[middle:])
    ratio = second / first
    detail = f"{first / 1e6:.0f} MB, then {second / 1e6:.0f} MB"
    return Figure("memory, second half / first", ratio, "<= 1.05", ratio <= 1.05, detail)


def _settled(pid: int, wanted: _Held) -> _Held:
    """What is held once nothing changes any more, or after ten seconds."""
    for _ in range(100):
        held = _Held.by(pid)
        if held == wanted:
            break
        time.sleep(0.1)
    return held


def _links(pid: int) -> list[str]:
    found: list[str] = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue  # closed meanwhile
    return found
