"""Peak memory of the whole process tree: a long recording against a short one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.audio import meeting, write_mp3
from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.watch import Watch

SHORT, LONG = 5, 180  # minutes
LIMIT = 1.15

Answer = Mapping[str, Sequence[Mapping[str, float]]]
"""The part of an answer that is looked at."""


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        short, long = _peak(Path(folder), SHORT), _peak(Path(folder), LONG)
    ratio = long / short
    detail = f"{SHORT} min {short / 1e6:.0f} MB, {LONG} min {long / 1e6:.0f} MB, scripted engine"
    return [Figure("peak memory, long / short", ratio, f"<= {LIMIT}", ratio <= LIMIT, detail)]


def _peak(folder: Path, minutes: int) -> int:
    size, answer = peak(folder, minutes, "/v1/audio/transcriptions")
    assert len(answer["words"]) > minutes * 60
    return size


def peak(folder: Path, minutes: int, route: str) -> tuple[int, Answer]:
    """What a server takes for the sample meeting over and over, and what it answers."""
    path = folder / f"{minutes}.mp3"
    write_mp3(path, meeting(), minutes)
    with (
        Server(model="scripted") as server,
        server.client() as client,
        path.open("rb") as file,
        Watch(server.pid) as watch,
    ):
        answer: Answer = client.post(route, files={"file": file}).raise_for_status().json()
    return watch.peak, answer
