"""Peak memory of the whole process tree: a long recording against a short one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.audio import meeting, write_mp3
from benchmarks.figures import Figure
from benchmarks.server import Server

SHORT, LONG = 5, 60  # minutes
LIMIT = 1.2


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        short, long = _peak(Path(folder), SHORT), _peak(Path(folder), LONG)
    ratio = long / short
    detail = f"{SHORT} min {short / 1e6:.0f} MB, {LONG} min {long / 1e6:.0f} MB, scripted engine"
    return [Figure("peak memory, long / short", ratio, f"<= {LIMIT}", ratio <= LIMIT, detail)]


def _peak(folder: Path, minutes: int) -> int:
    path = folder / f"{minutes}.mp3"
    write_mp3(path, meeting(), minutes)
    with Server(model="scripted") as server, server.client() as client, path.open("rb") as file:
        answer = client.post("/v1/audio/transcriptions", files={"file": file})
        answer.raise_for_status()
        assert len(answer.json()["words"]) > minutes * 60
    return server.peak
