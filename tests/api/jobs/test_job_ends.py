"""How jobs end: done, cancelled, erased, expired, or taken up again by another server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.jobs.asking import JOBS, ended, get, result, submit
from tests.api.support import (
    Gate,
    error_of,
    eventually,
    upload,
)
from tests.live import LiveServer


def test_a_job_is_cancelled_and_erased(
    http: httpx.Client, data: Path, pauses: bytes, held: Gate
) -> None:
    job = submit(http, pauses)
    eventually(lambda: held.arrived)
    assert (data / "jobs" / job["id"]).exists()
    cancelled = http.post(f"{JOBS}/{job['id']}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert not (data / "jobs" / job["id"]).exists()
    assert error_of(result(http, job), 400)["message"] == "The job was cancelled."
    assert http.delete(f"{JOBS}/{job['id']}").json()["deleted"]
    assert error_of(http.get(f"{JOBS}/{job['id']}"), 404)
    eventually(lambda: held.cancelled)


def test_a_cancelled_job_says_where_its_words_are(
    http: httpx.Client, pauses: bytes, held: Gate
) -> None:
    held.free = 1
    job = submit(http, pauses)
    eventually(lambda: get(http, job)["progress"]["audio_seconds"])
    http.post(f"{JOBS}/{job['id']}/cancel").raise_for_status()
    message = error_of(result(http, job, format="srt"), 400)["message"]
    assert f"/v1/jobs/{job['id']}" in message
    assert "partial=true" in message
    so_far = get(http, job, words="true")
    assert so_far["words"]
    assert result(http, job, format="text", partial="true").text.strip() == so_far["text"]
    assert result(http, job, format="srt", partial="true").text.startswith("1\n00:00:0")
    verbose = result(http, job, format="verbose_json", partial="true").json()
    assert verbose["duration"] == so_far["progress"]["audio_seconds"]
    assert verbose["duration"] < 8  # seconds of the whole


def test_a_cancelled_job_does_not_call_all_its_speakers_one(
    http: httpx.Client, pauses: bytes, held: Gate
) -> None:
    held.free = 1
    job = submit(http, pauses, diarize="true")
    eventually(lambda: get(http, job)["progress"]["audio_seconds"])
    http.post(f"{JOBS}/{job['id']}/cancel").raise_for_status()
    assert result(http, job, format="vtt", partial="true").status_code == 200
    refused = error_of(result(http, job, format="diarized_json", partial="true"), 400)
    assert refused["param"] == "format"


def test_a_recording_goes_when_its_job_is_done(http: httpx.Client, data: Path, clip: bytes) -> None:
    ended(http, submit(http, clip))
    eventually(lambda: not list((data / "jobs").iterdir()))
    assert not list((data / "incoming").iterdir())


def test_only_this_user_can_read_what_is_kept(data: Path, http: httpx.Client, clip: bytes) -> None:
    ended(http, submit(http, clip))
    for path in data.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_job_that_cannot_be_read_holds_the_others_up_no_longer_than_it_is_there(
    http: httpx.Client, data: Path, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """One of a newer version of the server, say."""
    job = submit(http, clip)
    ended(http, job)
    with closing(sqlite3.connect(data / "reflector.db", timeout=60)) as database:
        changed = "UPDATE jobs SET status = 'queued', options = '{', priority = 9 WHERE id = ?"
        database.execute(changed, [job["id"]])
        database.commit()
        eventually(lambda: "no job could be taken" in caplog.text)
        database.execute("DELETE FROM jobs WHERE id = ?", [job["id"]])
        database.commit()
    assert ended(http, submit(http, clip))["status"] == "completed"


@pytest.mark.slow
def test_expired_jobs_and_uploads_are_erased(tmp_path: Path, clip: bytes) -> None:
    where: dict[str, Any] = {"model": "scripted", "data_dir": tmp_path}
    first = LiveServer(**where, uploads_keep_hours=1e-9)
    with first as server, server.client(None) as http:
        job = submit(http, clip)
        ended(http, job)
        sent = {"Tus-Resumable": "1.0.0", "Upload-Length": "10"}
        upload = http.post("/v1/uploads", headers=sent).headers["Location"]
        assert http.head(upload, headers=sent).status_code == 404
        assert list((tmp_path / "uploads").iterdir())
    brief = LiveServer(**where, jobs_keep_hours=1e-9)
    with brief as server, server.client(None) as http:
        eventually(lambda: http.get(f"{JOBS}/{job['id']}").status_code == 404)
        eventually(lambda: not list((tmp_path / "uploads").iterdir()))


@pytest.mark.slow
def test_a_job_goes_on_when_its_server_starts_again(
    tmp_path: Path, pauses: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LiveServer(model="scripted", data_dir=tmp_path) as server:
        gate = Gate(server, monkeypatch)
        gate.free = 1
        with server.client(None) as http:
            job = submit(http, pauses)
            eventually(lambda: get(http, job)["progress"]["audio_seconds"] > 0)
            before = get(http, job)
    server = LiveServer(model="scripted", data_dir=tmp_path)
    gate = Gate(server, monkeypatch)  # before the server goes on with the job
    with server:
        with server.client(None) as http:
            done = ended(http, job)
            assert done["text"].startswith(before["text"])
            assert gate.arrived == 2
            whole = result(http, job).json()
        assert upload(server, pauses).json()["words"] == whole["words"]
