"""What the service itself costs: small clips, many clients, an engine that costs nothing."""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from benchmarks.audio import meeting, wav
from benchmarks.clients import Tally, keep_asking, raw
from benchmarks.figures import Figure
from benchmarks.server import KEY, Server
from benchmarks.stages import shares
from reflector_gpu.types import SAMPLE_RATE

CLIENTS = 8
CLIP_SECONDS = 0.5
SECONDS = 4.0
ROUNDS = 5
TARGET = 0.6


def run() -> list[Figure]:
    request = httpx.Request(
        "POST",
        "http://localhost/v1/audio/transcriptions",
        headers={"Authorization": f"Bearer {KEY}"},
        data={"model": "scripted", "language": "en"},
        files={"file": ("clip.wav", _clip())},
    )
    message = raw(request)
    ratios: list[float] = []
    with _bare() as bare, Server(model="scripted") as server:
        ours = httpx.URL(server.url).port or 80
        for port in (bare, ours):
            _rate(port, message, 1.0)
        for _ in range(ROUNDS):
            theirs_rate, our_rate = _rate(bare, message), _rate(ours, message)
            ratios.append(our_rate / theirs_rate)
    ratio = statistics.median(ratios)
    detail = (
        f"{CLIENTS} clients, clips of {CLIP_SECONDS:g} s: {our_rate:.0f} and {theirs_rate:.0f} "
        f"requests a second, {min(ratios):.2f} to {max(ratios):.2f}"
    )
    name = "requests a second, scripted engine / a route that only parses"
    return [
        Figure(name, ratio, f">= {TARGET}", ratio >= TARGET, detail),
        *(
            Figure(f"share of a request's time: {stage}", share, "", True)
            for stage, share in shares(message).items()
        ),
    ]


def _clip() -> bytes:
    return wav(meeting()[SAMPLE_RATE : int(SAMPLE_RATE * (1 + CLIP_SECONDS))])


def _rate(port: int, message: bytes, seconds: float = SECONDS) -> float:
    async def all_of_them() -> Tally:
        tally = Tally()
        await asyncio.gather(
            *(keep_asking("127.0.0.1", port, message, seconds, tally) for _ in range(CLIENTS))
        )
        return tally

    tally = asyncio.run(all_of_them())
    if set(tally.statuses) != {200}:
        raise RuntimeError(f"not every answer was good: {dict(tally.statuses)}")
    return tally.statuses[200] / seconds


@contextmanager
def _bare() -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.bare"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise RuntimeError("the bare server did not start")
        try:
            yield int(found[1])
        finally:
            process.terminate()
