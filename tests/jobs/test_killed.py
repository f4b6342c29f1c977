"""What becomes of jobs when their server is killed outright."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import eventually
from tests.jobs.counted import CountedServer

pytestmark = pytest.mark.slow

KILLS = 3


def recording(speech: Samples, times: int) -> bytes:
    """The sample meeting so many times, each time louder, so that no two chunks are the same."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        for number in range(times):
            louder = speech * (0.7 + 0.3 * number / times)
            writer.writeframes(np.round(louder * 32767).astype("<i2").tobytes())
    return file.getvalue()


def look(server: CountedServer, job: str) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get(f"/v1/jobs/{job}").json()
    return found


def hung(server: CountedServer, times: int) -> None:
    eventually(lambda: server.hangs >= times, 60)


def test_a_job_survives_kills_and_recognises_no_finished_chunk_again(
    tmp_path: Path, speech: Samples
) -> None:
    audio = recording(speech, 1)
    (tmp_path / "quiet").mkdir()
    with CountedServer(tmp_path / "quiet") as server:
        files = {"file": ("talk.wav", audio)}
        undisturbed = server.client.post("/v1/audio/transcriptions", files=files).json()
        chunks = server.given
    job = ""
    for life in range(KILLS):
        with CountedServer(tmp_path, chunks=3) as server:
            if not job:
                files = {"file": ("talk.wav", audio)}
                job = server.client.post("/v1/jobs", files=files).json()["id"]
            hung(server, life + 1)
            server.kill()
    with CountedServer(tmp_path) as server:
        eventually(lambda: look(server, job)["status"] == "completed", 60)
        found = server.client.get(f"/v1/jobs/{job}/result").json()
        assert found == undisturbed
        assert set(server.given) == set(chunks)
        twice = server.given.total() - chunks.total()
    assert chunks.total() > 3 * KILLS
    # One chunk hung at each kill; that before it may not have been written down yet.
    assert KILLS <= twice <= 2 * KILLS


def test_a_job_is_there_once_it_was_accepted_and_once_only(tmp_path: Path, speech: Samples) -> None:
    """The client of the killed server does not know whether its request arrived."""
    files = {"file": ("talk.wav", recording(speech[: 5 * SAMPLE_RATE], 1))}
    form = {"idempotency_key": "again"}
    with CountedServer(tmp_path, chunks=0) as server:
        first = server.client.post("/v1/jobs", files=files, data=form).json()["id"]
        server.kill()
    with CountedServer(tmp_path) as server:
        again = server.client.post("/v1/jobs", files=files, data=form)
        assert (again.status_code, again.json()["id"]) == (200, first)
        eventually(lambda: look(server, first)["status"] == "completed", 60)
        assert len(server.client.get("/v1/jobs").json()["data"]) == 1
