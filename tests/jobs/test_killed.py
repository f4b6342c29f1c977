"""What becomes of jobs when their server is killed outright."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import wave
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from reflector_gpu.store.database import FILE
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import TRANSCRIPTIONS, eventually
from tests.jobs.counted import CountedServer, given, quiet
from tests.live import LiveServer

pytestmark = pytest.mark.slow

KILLS = 2


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


def submit_batch(http: httpx.Client, audio: bytes, lines: int) -> str:
    """A batch of the same recording so many times."""
    body = {"input_audio": {"data": base64.b64encode(audio).decode(), "format": "wav"}}
    texts = [
        json.dumps({"custom_id": f"{n}", "method": "POST", "url": TRANSCRIPTIONS, "body": body})
        for n in range(lines)
    ]
    files = {"file": ("b.jsonl", "\n".join(texts))}
    file = http.post("/v1/files", files=files, data={"purpose": "batch"}).json()["id"]
    asked = {"input_file_id": file, "endpoint": TRANSCRIPTIONS, "completion_window": "24h"}
    return str(http.post("/v1/batches", json=asked).json()["id"])


def hung(server: CountedServer, times: int) -> None:
    eventually(lambda: server.hangs >= times)


def _written_down(folder: Path, chunks: int) -> bool:
    """Whether so many chunks have been recognised, as the next server will know."""
    with closing(sqlite3.connect(folder / "data" / FILE)) as database:
        ((count,),) = database.execute("SELECT count(*) FROM recognitions")
    return bool(count == chunks)


def test_a_job_survives_kills_and_recognises_no_finished_chunk_again(
    tmp_path: Path, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"file": ("talk.wav", recording(speech, 1))}
    job = ""
    for life in range(KILLS):
        with CountedServer(tmp_path, chunks=3) as server:
            if not job:
                job = server.client.post("/v1/jobs", files=files).json()["id"]
            hung(server, life + 1)
            eventually(partial(_written_down, tmp_path, 3 * (life + 1)))
            server.kill()
    before = given(tmp_path)
    with (
        LiveServer(**quiet(tmp_path, monkeypatch)) as following,
        following.client(None) as http,
    ):
        eventually(lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "completed")
        found = http.get(f"/v1/jobs/{job}/result").json()
        after = given(tmp_path)
        used = sum(day["audio_seconds"] for day in http.get("/v1/usage").json()["data"])
        assert used == pytest.approx(len(speech) / SAMPLE_RATE, abs=0.02)
        undisturbed = http.post("/v1/audio/transcriptions", files=files).json()
    chunks = given(tmp_path) - after
    assert found == undisturbed
    assert set(after) == set(chunks)
    assert before.total() > KILLS
    twice = after.total() - chunks.total()
    assert chunks.total() > 3 * KILLS
    assert twice == KILLS  # the chunk that hung


def test_a_job_is_there_once_it_was_accepted_and_once_only(
    tmp_path: Path, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed when the job's row is on disk, and before its client has the answer."""
    files = {"file": ("talk.wav", recording(speech[: 5 * SAMPLE_RATE], 1))}
    form = {"idempotency_key": "again"}
    with (
        CountedServer(tmp_path, dies_accepting=True) as server,
        pytest.raises(httpx.TransportError),
    ):
        server.client.post("/v1/jobs", files=files, data=form)
    with (
        LiveServer(**quiet(tmp_path, monkeypatch)) as following,
        following.client(None) as http,
    ):
        again = http.post("/v1/jobs", files=files, data=form)
        assert again.status_code == 200  # and not 202: it was there
        job = again.json()["id"]
        eventually(lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "completed")
        assert [one["id"] for one in http.get("/v1/jobs").json()["data"]] == [job]
        assert given(tmp_path).total() > 0


def test_a_batch_survives_a_kill_and_asks_no_answered_line_again(
    tmp_path: Path, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CountedServer(tmp_path, chunks=2) as server:
        batch = submit_batch(server.client, recording(speech[: 2 * SAMPLE_RATE], 1), 6)
        hung(server, 1)
        path = f"/v1/batches/{batch}"
        answered = eventually(lambda: server.client.get(path).json()["request_counts"]["completed"])
        server.kill()
    before = given(tmp_path).total()
    with (
        LiveServer(**quiet(tmp_path, monkeypatch)) as following,
        following.client(None) as http,
    ):
        eventually(lambda: http.get(path).json()["status"] == "completed")
        done = http.get(path).json()
        assert done["request_counts"] == {"total": 6, "completed": 6, "failed": 0}
        lines = http.get(f"/v1/files/{done['output_file_id']}/content").text.splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == [str(n) for n in range(6)]
    assert given(tmp_path).total() - before <= 6 - answered
