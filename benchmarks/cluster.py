"""What Ray costs, and what further replicas bring: measured, and simulated."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING

import httpx
import psutil

from benchmarks.audio import meeting, wav
from benchmarks.figures import Figure
from benchmarks.server import KEY, Server
from benchmarks.simulation import Cluster, simulate
from reflector_gpu.types import SAMPLE_RATE
from tests.jobs.test_killed import recording

if TYPE_CHECKING:
    from tests.ray.cluster import RayCluster

SINGLE = 150
"""Requests one after the other, of each server."""

HALF_AN_HOUR = 27  # times the sample meeting

CLIENTS, REQUESTS = 8, 48
"""At once, and in all."""

SCALING_REQUESTS = 96
"""More of them: at the end of a run, one of two replicas has nothing left to do."""

PACED_SECONDS = 0.4
"""What the stand-in for a GPU takes for a call, without a core."""

ROUTE = "/v1/audio/transcriptions"


def run() -> list[Figure]:
    if not find_spec("ray"):
        print("Ray is not installed: pip install -e '.[ray]'", file=sys.stderr)
        return []
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"
    from tests.ray.cluster import RayCluster

    settings = {"APIKEY": KEY, "DIARIZER": "bic"}
    defaults = dict.fromkeys(("RAY_PER_NODE", "RAY_HEALTH_SECONDS"), "")  # tests have others
    named = {f"REFLECTOR_{name}": value for name, value in {**settings, **defaults}.items()}
    with RayCluster(named, nodes=1) as cluster:
        return [*decoding(), *costs(cluster), *scaling(cluster), *predicted(cluster)]


def clip(number: int) -> bytes:
    """Five seconds, others for each number."""
    begin = number % 50 * SAMPLE_RATE
    return wav(meeting()[begin : begin + 5 * SAMPLE_RATE])


def decoding() -> list[Figure]:
    """The CPU that a server needs for an hour of audio, which limits how many GPUs it feeds."""
    audio = recording(meeting(), HALF_AN_HOUR)
    with Server(model="scripted", diarizer="bic") as server, server.client() as client:
        before = _cpu_seconds(server.pid)
        client.post(ROUTE, files={"file": audio}).raise_for_status()
        used = 2 * (_cpu_seconds(server.pid) - before)
    detail = "WAV at 16 kHz; decoding, voice detection, the answer; an engine that takes nothing"
    return [Figure("CPU of a server for an hour of audio, s", used, "", True, detail)]


def _cpu_seconds(pid: int) -> float:
    """Of a process and its children, those included that have ended."""
    total = 0.0
    for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        times = one.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def costs(cluster: RayCluster) -> list[Figure]:
    """Latency and memory with Ray and without, asked in turn in one run."""
    with (
        Server(model="auto", auto_models="sphinx,scripted", diarizer="bic") as server,
        server.client() as alone,
        cluster.client(KEY) as on_ray,
    ):
        sides: list[tuple[httpx.Client, list[float]]] = [(alone, []), (on_ray, [])]
        for number in range(SINGLE):
            for client, took in sides:
                took.append(_ask(client, "scripted", number))
        memory = [_memory(server.pid), _memory(os.getpid(), of_others=server.pid)]
    plain, ours = (took[10:] for _, took in sides)
    figures = []
    for name, at in (("p50", 50), ("p95", 95)):
        a, b = _percentile(plain, at), _percentile(ours, at)
        detail = f"{b:.0f} ms against {a:.0f} ms; 5 s of audio, scripted, {len(ours)} requests"
        figures.append(Figure(f"latency that Ray adds, {name}, ms", b - a, "", True, detail))
    detail = f"{memory[1]:.0f} MB against {memory[0]:.0f} MB: two servers, two replicas of each"
    return [*figures, Figure("memory that Ray adds, MB", memory[1] - memory[0], "", True, detail)]


def scaling(cluster: RayCluster) -> list[Figure]:
    """Throughput of the default engine with one replica and with two."""
    found = []
    for replicas in (1, 2):
        _replicas(cluster, replicas)
        found.append(_throughput(cluster, "sphinx", SCALING_REQUESTS))
    ratio = found[1] / found[0]
    detail = f"{found[1]:.2f} against {found[0]:.2f} requests a second; sphinx, 5 s of audio"
    return [Figure("throughput, 2 replicas / 1", ratio, ">= 1.7", ratio >= 1.7, detail)]


def predicted(cluster: RayCluster) -> list[Figure]:
    """What the simulation says of 1, 2 and 4 replicas, and what they do."""
    from ray import serve

    from benchmarks import paced

    figures, delay = [], None
    for replicas in (1, 2, 4):
        cluster.keep(paced.run(replicas, PACED_SECONDS))
        handle = serve.get_deployment_handle(paced.RECOGNISER, paced.RECOGNISER)
        with cluster.client(KEY) as client:
            quiet = [_ask(client, "scripted", number) / 1000 for number in range(12)][2:]
        if delay is None:
            delay = max(0.0, statistics.median(quiet) - PACED_SECONDS)
        before = len(handle.times.remote().result())
        measured = _throughput(cluster, "scripted", REQUESTS)
        service = handle.times.remote().result()[before:] or [PACED_SECONDS]
        expected = simulate(
            Cluster(
                replicas=replicas,
                cores=os.cpu_count() or 1,
                front=[delay / 2],
                service=service,
                delay=delay / 2,
                clients=CLIENTS,
            ),
            REQUESTS,
        ).throughput
        ratio = measured / expected
        detail = f"measured {measured:.2f}, simulated {expected:.2f} requests a second"
        name = f"measured / simulated throughput, {replicas} replicas"
        figures.append(Figure(name, ratio, "0.85 to 1.15", 0.85 <= ratio <= 1.15, detail))
    return figures


def _ask(client: httpx.Client, model: str, number: int) -> float:
    """Milliseconds until the answer."""
    audio = clip(number)
    began = time.perf_counter()
    client.post(ROUTE, files={"file": audio}, data={"model": model}).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def _throughput(cluster: RayCluster, model: str, requests: int) -> float:
    """Requests in a second."""
    with cluster.client(KEY) as client, ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda n: _ask(client, model, n), range(CLIENTS)))  # warms up
        began = time.perf_counter()
        list(threads.map(lambda n: _ask(client, model, n), range(requests)))
        return requests / (time.perf_counter() - began)


def _replicas(cluster: RayCluster, number: int) -> None:
    """Deploy the default engine alone, with so many replicas."""
    names = ("REPLICAS", "MOST_REPLICAS")
    changed = {f"REFLECTOR_RAY_{name}": str(number) for name in names}
    cluster.deploy({**changed, "REFLECTOR_MODEL": "sphinx"})
    _until(lambda: len(cluster.replicas("recogniser-sphinx")) == number)


def _memory(pid: int, of_others: int | None = None) -> float:
    """Megabytes of a process and its children, where shared pages count once."""
    root = psutil.Process(pid)
    left_out = {of_others} | (
        {one.pid for one in psutil.Process(of_others).children(recursive=True)}
        if of_others
        else set()
    )
    children = [one for one in root.children(recursive=True) if one.pid not in left_out]
    counted = children if of_others else [root, *children]
    return sum(one.memory_full_info().pss for one in counted) / 1e6


def _percentile(took: Sequence[float], at: int) -> float:
    return statistics.quantiles(took, n=100)[at - 1]


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)
