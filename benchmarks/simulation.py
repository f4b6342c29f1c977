"""A cluster as queues: servers that decode on cores, and replicas that take one call at a time.

It is fed with times that were measured, and says what another number of replicas would do.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

Then = Callable[[float], None]
"""What happens next, at which time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is simulated. Times are in seconds.

    A request takes one of ``front`` on one of ``cores``, and then one of ``service`` at a replica.
    Of two, drawn by chance, it is the one with fewer calls, as Serve chooses. ``delay`` is what a
    request waits besides, whatever the load is. Each of ``clients`` sends its next request once it
    has its answer.
    """

    replicas: int
    cores: int
    front: Sequence[float]
    service: Sequence[float]
    delay: float
    clients: int


@dataclass(frozen=True, slots=True)
class Outcome:
    throughput: float
    """Requests in a second."""
    latencies: Sequence[float]


@dataclass(slots=True)
class _Station:
    """So many places to be served at; who finds none waits."""

    places: int
    waiting: deque[tuple[float, Then]] = field(default_factory=deque)
    busy: int = 0

    @property
    def load(self) -> int:
        return self.busy + len(self.waiting)


def simulate(cluster: Cluster, requests: int, seed: int = 0) -> Outcome:
    """What becomes of so many ``requests``."""
    draw = random.Random(seed)
    order = count()
    events: list[tuple[float, int, Then]] = []
    front = _Station(cluster.cores)
    replicas = [_Station(1) for _ in range(cluster.replicas)]
    latencies: list[float] = []
    ended = 0.0
    begun = 0

    def at(time: float, then: Then) -> None:
        heapq.heappush(events, (time, next(order), then))

    def serve(station: _Station, now: float, seconds: float, then: Then) -> None:
        if station.busy == station.places:
            station.waiting.append((seconds, then))
            return
        station.busy += 1

        def end(time: float) -> None:
            station.busy -= 1
            if station.waiting:
                serve(station, time, *station.waiting.popleft())
            then(time)

        at(now + seconds, end)

    def send(now: float) -> None:
        nonlocal begun
        if begun == requests:
            return
        begun += 1

        def decoded(time: float) -> None:
            some = draw.sample(replicas, min(2, len(replicas)))
            chosen = min(some, key=lambda one: one.load)
            serve(chosen, time, draw.choice(cluster.service), recognised)

        def recognised(time: float) -> None:
            at(time + cluster.delay, answered)

        def answered(time: float) -> None:
            nonlocal ended
            ended = time
            latencies.append(time - now)
            send(time)

        serve(front, now, draw.choice(cluster.front), decoded)

    for _ in range(cluster.clients):
        at(0.0, send)
    while events:
        time, _, then = heapq.heappop(events)
        then(time)
    return Outcome(len(latencies) / ended, latencies)
