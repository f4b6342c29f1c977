"""What realtime sessions cost: one that goes on for two hours, and two hundred that say nothing.

The recogniser is the scripted one, so this measures the service. The long session speaks the
sample meeting over and over, at up to sixty times its pace, and the server finds the turns.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.audio import meeting, pcm
from benchmarks.figures import Figure
from benchmarks.server import KEY, Server
from benchmarks.watch import Watch
from reflector_gpu.types import SAMPLE_RATE, Samples

HOURS = 2.0
PACE = 60.0
BLOCK = SAMPLE_RATE // 2  # samples that are sent at once
EARLY = 1 / 6
"""The share of the session after which its memory is first looked at: 20 minutes."""

IDLE = 200
IDLE_SECONDS = 20.0
FLAT, NEAR_NOTHING = 1.05, 0.02


def run() -> list[Figure]:
    return [*_long(), *_idle()]


def _connection(server: Server) -> connect:
    url = server.url.replace("http", "ws") + "/v1/realtime?intent=transcription"
    headers = {"Authorization": f"Bearer {KEY}"}
    return connect(url, additional_headers=headers, max_size=None, proxy=None)


def _long() -> list[Figure]:
    with Server(model="scripted") as server, Watch(server.pid) as watch:
        turns, seconds = asyncio.run(_speak(server))
    count = len(watch.memory)
    early = _median(watch.memory[int(count * EARLY) : int(count * 2 * EARLY)])
    late = _median(watch.memory[-int(count * EARLY) :])
    pace = HOURS * 3600 / seconds
    ratio = late / early
    detail = f"{turns} turns; {early / 1e6:.0f} MB from 20 to 40 min, {late / 1e6:.0f} at the end"
    return [
        Figure(
            "memory of a long session, end / beginning", ratio, f"<= {FLAT}", ratio <= FLAT, detail
        ),
        Figure(
            "pace of the session",
            pace,
            f">= {0.9 * PACE:g}",
            pace >= 0.9 * PACE,
            f"of {PACE:g} at most",
        ),
    ]


def _median(sizes: Sequence[tuple[float, int]]) -> float:
    return float(np.median([size for _, size in sizes]))


async def _speak(server: Server) -> tuple[int, float]:
    """The turns of the long session, and the seconds that it took."""
    async with _connection(server) as socket:
        settings = {"format": {"type": "audio/pcm", "rate": SAMPLE_RATE}}
        session = {"audio": {"input": settings}}
        await socket.send(json.dumps({"type": "session.update", "session": session}))
        listening = asyncio.create_task(_count_turns(socket))
        spoken = meeting()
        began = time.monotonic()
        for number in range(int(HOURS * 3600 * SAMPLE_RATE / BLOCK)):
            block = np.take(spoken, range(number * BLOCK, (number + 1) * BLOCK), mode="wrap")
            await asyncio.sleep(began + number * BLOCK / SAMPLE_RATE / PACE - time.monotonic())
            await socket.send(_append(block))
        last = {"type": "conversation.item.retrieve", "item_id": "none", "event_id": "last"}
        await socket.send(json.dumps(last))
        return await listening, time.monotonic() - began


async def _count_turns(socket: ClientConnection) -> int:
    """The turns that are completed until the answer to the last event."""
    turns = 0
    async for message in socket:
        event = json.loads(message)
        turns += event["type"].endswith(".completed")
        if event["type"] == "error":
            if event["error"].get("event_id") == "last":
                break
            raise RuntimeError(event["error"]["message"])
    return turns


def _append(samples: Samples) -> str:
    audio = base64.b64encode(pcm(samples)).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def _idle() -> list[Figure]:
    with Server(model="scripted") as server:
        alone = asyncio.run(_share(server, 0))
        used = asyncio.run(_share(server, IDLE))
    detail = f"{used:.4f} of a core, without any session {alone:.4f}"
    found = used - alone
    return [
        Figure(
            f"CPU of {IDLE} idle sessions",
            found,
            f"<= {NEAR_NOTHING}",
            found <= NEAR_NOTHING,
            detail,
        )
    ]


async def _share(server: Server, count: int) -> float:
    """What the server takes of a core while ``count`` sessions are open and say nothing."""
    async with AsyncExitStack() as held:
        for _ in range(count):
            socket = await held.enter_async_context(_connection(server))
            await socket.recv()
        before = _cpu(server.pid)
        await asyncio.sleep(IDLE_SECONDS)
        return (_cpu(server.pid) - before) / IDLE_SECONDS


def _cpu(pid: int) -> float:
    """Seconds of the whole process tree."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
