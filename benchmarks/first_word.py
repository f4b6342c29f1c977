"""How long until the first word of a recording that still arrives, at twenty times real time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.audio import meeting, write_mp3
from benchmarks.figures import Figure
from benchmarks.host import serving
from benchmarks.plain import running
from benchmarks.server import Server

MINUTES = (1, 10, 60)
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
        for minutes in MINUTES:
            write_mp3(Path(folder) / f"{minutes}.mp3", meeting(), minutes)
        ours = {minutes: _streamed(client, f"{host}/{minutes}.mp3") for minutes in MINUTES}
        longest = max(MINUTES)
        theirs = _answered(f"http://127.0.0.1:{port}", f"{host}/{longest}.mp3")
    growth, gain = ours[longest] / ours[min(MINUTES)], theirs / ours[longest]
    told = ", ".join(f"{minutes} min {seconds:.2f} s" for minutes, seconds in ours.items())
    return [
        Figure("first word, longest / shortest", growth, f"<= {LONGER}", growth <= LONGER, told),
        Figure(
            "first word, naive / ours",
            gain,
            f">= {SOONER:g}",
            gain >= SOONER,
            f"{longest} min: naive {theirs:.0f} s",
        ),
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
