"""Servers that share a PostgreSQL."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflector_gpu.jobs import uploads
from reflector_gpu.store import keys
from reflector_gpu.store.keys import Scope
from reflector_gpu.store.postgresql import postgresql_at
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.jobs.test_uploads import OCTETS, TUS, append, create, offset_of
from tests.api.jobs.test_webhooks import Hooked
from tests.api.support import Gate, error_of, eventually, send_raw
from tests.jobs.counted import CountedServer, quiet
from tests.jobs.test_killed import hung, recording, submit_batch
from tests.live import LiveServer
from tests.postgresql import cluster, url

__all__ = ["cluster", "url"]  # fixtures

pytestmark = pytest.mark.slow


def completed(http: httpx.Client, job: str) -> None:
    eventually(lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "completed")


def test_two_servers_share_the_queue_and_one_may_be_killed(
    url: str, tmp_path: Path, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = {"file": ("talk.wav", recording(speech[: 20 * SAMPLE_RATE], 1))}
    where = quiet(tmp_path, monkeypatch)
    with (
        CountedServer(tmp_path, chunks=2, lease=2.0, database_url=url) as doomed,
        LiveServer(**where, database_url=url, jobs_at_once=1) as other,
        other.client(None) as http,
    ):
        made = [doomed.client.post("/v1/jobs", files=audio).json()["id"] for _ in range(4)]
        hung(doomed, 1)
        doomed.kill()
        for job in made:  # those of the dead server as well, and any server answers for any job
            completed(http, job)
        results = [http.get(f"/v1/jobs/{job}/result").json() for job in made]
    assert results[0]["words"]
    assert results == [results[0]] * len(made)


def test_a_webhook_is_sent(url: str, tmp_path: Path, clip: bytes) -> None:
    where: dict[str, Any] = {"model": "scripted", "data_dir": tmp_path, "database_url": url}
    with (
        Hooked() as hooked,
        LiveServer(**where, url_allow="127.0.0.1") as server,
        server.client(None) as http,
    ):
        sent = http.post(
            "/v1/jobs", files={"file": ("a.wav", clip)}, data={"webhook_url": hooked.url}
        )
        assert sent.status_code == 202, sent.text
        eventually(lambda: hooked.got)


def test_a_key_made_on_one_server_counts_on_all(url: str, tmp_path: Path, clip: bytes) -> None:
    database = postgresql_at(url)
    secret = database.write_now(partial(keys.create, name="alice", scopes=[Scope.JOBS]))
    where: dict[str, Any] = {"model": "scripted", "data_dir": tmp_path, "database_url": url}
    with (
        LiveServer(**where) as one,
        LiveServer(**where) as other,
        one.client(secret) as http,
        other.client(secret) as elsewhere,
    ):
        files = {"file": ("a\0b.wav", clip)}
        job = http.post("/v1/jobs", files=files, data={"idempotency_key": "x"}).json()["id"]
        again = elsewhere.post("/v1/jobs", files=files, data={"idempotency_key": "x"})
        assert again.json()["id"] == job
        path = f"/v1/jobs/{job}"
        eventually(lambda: elsewhere.get(path).json()["status"] == "completed")
        assert elsewhere.get(f"{path}/result").json()["words"]
        assert http.get("/v1/usage").json()["data"]
        assert elsewhere.delete(path).status_code == 200
        assert http.get(path).status_code == 404
        assert http.get("/v1/jobs").json()["data"] == []
        for odd in ("/v1/jobs/a%00b", "/v1/files/a%00b", "/v1/batches/a%00b"):
            assert "NUL" in error_of(http.get(odd), 400)["message"]
        assert http.get("/v1/jobs").status_code == 200  # nothing broke
    database.close()


def test_an_upload_has_one_server_at_a_time(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_LEASE", 3600.0)  # or it might end while a slow test looks
    where: dict[str, Any] = {"model": "scripted", "data_dir": tmp_path, "database_url": url}
    content = b"x" * 200_000
    with (
        LiveServer(**where) as one,
        LiveServer(**where) as other,
        one.client(None) as http,
        other.client(None) as elsewhere,
    ):
        upload = create(http, len(content))
        sent = {**OCTETS, "Upload-Offset": "0"}
        request = http.build_request("PATCH", upload, headers=sent, content=content)
        with send_raw(one, request, share=0.5) as connection:
            eventually(lambda: offset_of(elsewhere, upload) == 100_000)
            refused = append(elsewhere, upload, 100_000, b"y")
            assert "Another server" in error_of(refused, 409)["message"]
            connection.sendall(content[100_000:])
            assert b"204" in connection.recv(1000)
        assert offset_of(elsewhere, upload) == len(content)


def test_many_at_once_with_one_key_make_one_job(url: str, tmp_path: Path, clip: bytes) -> None:
    where: dict[str, Any] = {"model": "scripted", "data_dir": tmp_path, "database_url": url}
    found: list[str] = []
    with LiveServer(**where, apikey="k") as one, LiveServer(**where, apikey="k") as other:

        def submit(server: LiveServer) -> None:
            with server.client("k") as http:
                files = {"file": ("a.wav", clip)}
                answer = http.post("/v1/jobs", files=files, data={"idempotency_key": "once"})
                found.append(answer.json()["id"])

        threads = [threading.Thread(target=submit, args=(s,)) for s in (one, other) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_servers_share_jobs_without_a_common_folder(
    url: str, pauses: bytes, host: AudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"model": "scripted", "database_url": url, "jobs_at_once": 1}
    with (
        LiveServer(**settings, url_allow="127.0.0.1") as one,
        LiveServer(**settings, url_allow="127.0.0.1") as other,
        one.client(None) as http,
        other.client(None) as elsewhere,
    ):
        gates = [Gate(server, monkeypatch) for server in (one, other)]
        for gate in gates:
            gate.free = 0
        files = {"file": ("a.wav", pauses)}
        made = [http.post("/v1/jobs", files=files).json()["id"] for _ in range(3)]
        address = host.put("/talk.wav", Answer(pauses))
        made.append(http.post("/v1/jobs", json={"audio_file_url": address}).json()["id"])
        eventually(lambda: all(gate.arrived for gate in gates))  # each works on one
        for gate in gates:
            gate.open()
        where = create(http, len(pauses))
        half = len(pauses) // 2
        append(http, where, 0, pauses[:half])
        assert offset_of(elsewhere, where) == half
        append(elsewhere, where, half, pauses[half:])
        upload_id = where.rsplit("/", 1)[1]
        made.append(http.post("/v1/jobs", json={"upload_id": upload_id}).json()["id"])
        assert elsewhere.delete(where, headers=TUS).status_code == 204
        results = []
        for job_id in made:
            completed(elsewhere, job_id)
            results.append(elsewhere.get(f"/v1/jobs/{job_id}/result").json()["words"])
        assert results[0]
        assert results == [results[0]] * 5
        batch = submit_batch(http, pauses, 3)
        eventually(lambda: elsewhere.get(f"/v1/batches/{batch}").json()["status"] == "completed")
        [file] = elsewhere.get("/v1/files").json()["data"]
        content = elsewhere.get(f"/v1/files/{file['id']}/content").text
        assert [json.loads(line)["custom_id"] for line in content.splitlines()] == ["0", "1", "2"]
        assert http.delete(f"/v1/files/{file['id']}").status_code == 200
    database = postgresql_at(url)
    left = "SELECT job FROM recordings UNION ALL SELECT id FROM blobs"
    assert database.write_now(lambda c: c.rows(left)) == []
    database.close()
