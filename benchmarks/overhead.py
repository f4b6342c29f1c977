"""What the service itself costs: small clips, many clients, an engine that costs nothing.

It is compared with other servers. The bare route only parses an upload, and the floor does what our
design needs with the least code. The floor is run once more with each demand that the service meets
besides, and with all of them. Decoding and detecting speech are also done here in a loop, so that
what is left of a request's CPU is seen to be the service's own.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import httpx
import psutil

from benchmarks.audio import meeting, wav
from benchmarks.clients import Tally, keep_asking, raw
from benchmarks.figures import Figure
from benchmarks.floor import DEMANDS
from benchmarks.plain import running
from benchmarks.server import KEY, Server
from benchmarks.stages import shares
from reflector_gpu.audio.chunk import chunks
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.engines.recognition.scripted import SPEC
from reflector_gpu.types import SAMPLE_RATE

CLIENTS = 8
CLIP_SECONDS = 0.5
SECONDS = 1.5
HEARINGS = 200
ROUNDS = 10
TARGET = 0.6
FLOOR_TARGET = 0.9


@dataclass(slots=True)
class Load:
    """A server under load, round after round."""

    port: int
    process: psutil.Process
    rates: list[float] = field(default_factory=list)
    """Requests a second."""
    costs: list[float] = field(default_factory=list)
    """Seconds of CPU that a request took."""

    def round(self, message: bytes, seconds: float = SECONDS) -> None:
        before = self._cpu()
        answered = _answered(self.port, message, seconds)
        self.rates.append(answered / seconds)
        self.costs.append((self._cpu() - before) / answered)

    def _cpu(self) -> float:
        """Seconds of CPU that all of its processes took, with decoders that come and go."""
        return sum(_seconds(one) for one in (self.process, *self.process.children(recursive=True)))


def run() -> list[Figure]:
    clip = _clip()
    request = httpx.Request(
        "POST",
        "http://localhost/v1/audio/transcriptions",
        headers={"Authorization": f"Bearer {KEY}"},
        data={"model": "scripted", "language": "en"},
        files={"file": ("clip.wav", clip)},
    )
    message = raw(request)
    hearing: list[float] = []
    with ExitStack() as servers:

        def other(module: str, *arguments: str) -> Load:
            port, pid = servers.enter_context(running(module, *arguments))
            return Load(port, psutil.Process(pid))

        bare, floor = other("benchmarks.bare"), other("benchmarks.floor")
        demands = [other("benchmarks.floor", demand) for demand in DEMANDS]
        demanded = other("benchmarks.floor", *DEMANDS)
        server = servers.enter_context(Server(model="scripted"))
        ours = Load(httpx.URL(server.url).port or 80, psutil.Process(server.pid))
        loads = (bare, floor, *demands, demanded, ours)
        for load in loads:
            _answered(load.port, message, 1.0)
        for _ in range(ROUNDS):
            for load in loads:
                load.round(message)
            hearing.append(_hearing(clip))
    return [
        *_figures(bare, floor, demanded, ours, hearing),
        *_costs(floor, [*demands, demanded]),
        *(
            Figure(f"share of a request's time: {stage}", share, "", True)
            for stage, share in shares(message).items()
        ),
    ]


def _figures(
    bare: Load, floor: Load, demanded: Load, ours: Load, hearing: list[float]
) -> list[Figure]:
    parsing, all_of_it, heard = map(statistics.median, (bare.costs, ours.costs, hearing))
    return [
        _ratio("requests a second, scripted engine / a route that only parses", ours, bare, TARGET),
        _ratio("the same / the least that our design needs", ours, floor),
        _ratio("the same / the least with all demands", ours, demanded, FLOOR_TARGET),
        _ratio("the least that our design needs / a route that only parses", floor, bare),
        _ratio("the least with all demands / a route that only parses", demanded, bare),
        Figure(
            "a route that only parses / ours by the CPU that a request takes",
            parsing / all_of_it,
            "",
            True,
            f"{1e3 * parsing:.2f} ms and {1e3 * all_of_it:.2f} ms, those of decoders and the worker"
            " included",
        ),
        Figure(
            "the same if nothing but decoding and detecting speech were added",
            parsing / (parsing + heard),
            "",
            True,
            f"called in a loop, without any server, they take {1e3 * heard:.2f} ms of CPU a clip; "
            f"{1e3 * (all_of_it - parsing - heard):.2f} ms of a request are the service's own",
        ),
    ]


def _costs(floor: Load, demanding: Sequence[Load]) -> list[Figure]:
    """How many times the CPU of the least a request takes with each demand, and with all."""
    names = [*DEMANDS.values(), "all demands"]
    return [
        _cost(f"CPU of the least with {name} / without", load, floor)
        for name, load in zip(names, demanding, strict=True)
    ]


def _cost(name: str, load: Load, other: Load) -> Figure:
    ratios = [one / two for one, two in zip(load.costs, other.costs, strict=True)]
    costs = [1e3 * statistics.median(each.costs) for each in (load, other)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    detail = f"{costs[0]:.2f} and {costs[1]:.2f} ms, {spread}"
    return Figure(name, statistics.median(ratios), "", True, detail)


def _ratio(name: str, load: Load, other: Load, target: float = 0.0) -> Figure:
    """By how many requests a second ``load`` is ahead of the ``other``."""
    ratios = [one / two for one, two in zip(load.rates, other.rates, strict=True)]
    ratio = statistics.median(ratios)
    rates = [statistics.median(each.rates) for each in (load, other)]
    return Figure(
        name,
        ratio,
        f">= {target}" if target else "",
        ratio >= target,
        f"{CLIENTS} clients, clips of {CLIP_SECONDS:g} s: {rates[0]:.0f} and {rates[1]:.0f} "
        f"requests a second, {min(ratios):.2f} to {max(ratios):.2f}",
    )


def _clip() -> bytes:
    return wav(meeting()[SAMPLE_RATE : int(SAMPLE_RATE * (1 + CLIP_SECONDS))])


def _hearing(clip: bytes) -> float:
    """Seconds of CPU that it takes to find the speech in ``clip``, as it comes in an upload."""
    began = time.process_time()
    for _ in range(HEARINGS):
        with Spool(limit=len(clip)) as spool:
            spool.write(clip)
            spool.finish()
            for _ in chunks(
                decode(spool.reader()),
                max_seconds=SPEC.max_chunk_seconds,
                max_gap=SPEC.max_gap_seconds,
            ):
                pass
    return (time.process_time() - began) / HEARINGS


def _answered(port: int, message: bytes, seconds: float) -> int:
    """How many requests the server there answers in so many seconds."""

    async def all_of_them() -> Tally:
        tally = Tally()
        await asyncio.gather(
            *(keep_asking("127.0.0.1", port, message, seconds, tally) for _ in range(CLIENTS))
        )
        return tally

    tally = asyncio.run(all_of_them())
    if set(tally.statuses) != {200}:
        raise RuntimeError(f"not every answer was good: {dict(tally.statuses)}")
    return tally.statuses[200]


def _seconds(process: psutil.Process) -> float:
    """Seconds of CPU that a process took, and those of its children that have ended."""
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return sum((times.user, times.system, times.children_user, times.children_system))
    return 0.0
