"""How long until the first word of a recording that still arrives, at twenty times real time."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from benchmarks.audio import meeting, write_mp3
from benchmarks.figures import Figure
from benchmarks.host import serving
from benchmarks.plain import running
from benchmarks.server import Server

MINUTES = (1, 10, 60)
WARM_UP_MINUTES = 0.25
ROUNDS = 3
PACE = 20  # times real time
BYTES_PER_SECOND = 6_000  # of the recordings: 48 kbit/s
LONGER, SOONER = 1.5, 50.0


def run() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), PACE * BYTES_PER_SECOND) as host,
        running("benchmarks.naive") as (port, _),
        Server(model="scripted", url_allow="127.0.0.1") as server,
        server.client() as client,
    ):
        for minutes in (WARM_UP_MINUTES, *MINUTES):
            write_mp3(Path(folder) / f"{minutes}.mp3", meeting(), minutes)
        naive = f"http://127.0.0.1:{port}"
        _streamed(client, f"{host}/{WARM_UP_MINUTES}.mp3")
        _answered(naive, f"{host}/{WARM_UP_MINUTES}.mp3")
        taken: dict[int, list[float]] = {minutes: [] for minutes in MINUTES}
        for _ in range(ROUNDS):
            for minutes, seconds in taken.items():
                seconds.append(_streamed(client, f"{host}/{minutes}.mp3"))
        theirs = {minutes: _answered(naive, f"{host}/{minutes}.mp3") for minutes in MINUTES}
    return _figures(taken, theirs)


def _figures(taken: Mapping[int, Sequence[float]], theirs: Mapping[int, float]) -> list[Figure]:
    ours = {minutes: statistics.median(seconds) for minutes, seconds in taken.items()}
    gains = {minutes: theirs[minutes] / ours[minutes] for minutes in MINUTES}
    growth, gain = ours[MINUTES[-1]] / ours[MINUTES[0]], gains[MINUTES[-1]]
    told = ", ".join(
        f"{minutes} min {ours[minutes]:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
        for minutes, seconds in taken.items()
    )
    compared = ", ".join(
        f"{minutes} min: naive {theirs[minutes]:.1f} s, {gains[minutes]:.1f} times"
        for minutes in MINUTES
    )
    return [
        Figure("first word, longest / shortest", growth, f"<= {LONGER}", growth <= LONGER, told),
        Figure("first word, naive / ours", gain, f">= {SOONER:g}", gain >= SOONER, compared),
    ]


def _streamed(client: httpx.Client, url: str) -> float:
    body = {"audio_file_url": url, "stream": True}
    began = time.perf_counter()
    with client.stream("POST", "/v1/audio/transcriptions-from-url", json=body) as answer:
        for line in answer.raise_for_status().iter_lines():
            if "transcript.text.delta" in line:
                return time.perf_counter() - began
    raise RuntimeError("the stream has no words")


def _answered(server: str, url: str) -> float:
    began = time.perf_counter()
    httpx.post(
        f"{server}/v1/audio/transcriptions-from-url", json={"audio_file_url": url}, timeout=None
    ).raise_for_status()
    return time.perf_counter() - began
