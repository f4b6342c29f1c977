"""Servers that share a PostgreSQL, which this starts on a private port if it is installed."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reflector_gpu.store import keys
from reflector_gpu.store.keys import Scope
from reflector_gpu.store.postgresql import postgresql_at
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import connect, error_of, eventually, send_raw
from tests.api.test_uploads import OCTETS, append, create, offset_of
from tests.api.test_webhooks import Hooked
from tests.jobs.counted import CountedServer
from tests.jobs.test_killed import hung, look, recording
from tests.live import LiveServer

pytestmark = pytest.mark.slow


def binaries() -> Path | None:
    """Where the programs of PostgreSQL are. Debian has them in no folder of the path."""
    found = [Path(path) for path in (shutil.which("initdb"), shutil.which("pg_ctl")) if path]
    folders = [path.resolve().parent for path in found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Path, int]]:
    """Where the programs of a server are that runs, and its port."""
    pytest.importorskip("pg8000")
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL on this machine")
    user = "postgres" if os.getuid() == 0 else None  # it does not run as root
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as temporary:
        folder = Path(temporary)
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        subprocess.run(
            [str(programs / "initdb"), "-D", str(data), "-U", "tests", "--auth=trust", "--no-sync"],
            user=user,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
        server = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data), *options],
            user=user,
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
        try:
            ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
            eventually(lambda: subprocess.run(ready, check=False).returncode == 0, 60)
            yield programs, port
        finally:
            server.terminate()
            server.wait()


def completed(server: CountedServer, job: str) -> None:
    eventually(lambda: look(server, job)["status"] == "completed", 60)


@pytest.fixture
def url(cluster: tuple[Path, int]) -> str:
    """A new database."""
    programs, port = cluster
    name = f"db{secrets.token_hex(4)}"
    where: list[str] = ["-h", "127.0.0.1", "-p", str(port), "-U", "tests"]
    subprocess.run([str(programs / "createdb"), *where, name], check=True)
    return f"postgresql://tests@127.0.0.1:{port}/{name}"


def test_two_servers_share_the_queue_and_one_may_be_killed(
    url: str, tmp_path: Path, speech: Samples
) -> None:
    audio = {"file": ("talk.wav", recording(speech[: 20 * SAMPLE_RATE], 1))}
    with (
        CountedServer(tmp_path, chunks=2, database_url=url) as doomed,
        CountedServer(tmp_path, database_url=url, jobs_at_once="1") as other,
    ):
        made = [doomed.client.post("/v1/jobs", files=audio).json()["id"] for _ in range(4)]
        hung(doomed, 1)
        doomed.kill()
        for job in made:  # those of the dead server as well, and any server answers for any job
            completed(other, job)
        results = [other.client.get(f"/v1/jobs/{job}/result").json() for job in made]
    assert results[0]["words"]
    assert results == [results[0]] * len(made)


def test_a_webhook_is_sent(url: str, tmp_path: Path, clip: bytes) -> None:
    where: dict[str, Any] = {"model": "scripted", "data_dir": tmp_path, "database_url": url}
    with (
        Hooked() as hooked,
        LiveServer(**where, url_allow="127.0.0.1") as server,
        connect(server, None) as http,
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
        connect(one, secret) as http,
        connect(other, secret) as elsewhere,
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
        for odd in ("/v1/jobs/a%00b", "/v1/files/a%00b", "/v1/batches/a%00b", "/v1/jobs?after=%00"):
            assert "NUL" in error_of(http.get(odd), 400)["message"]
        assert http.get("/v1/jobs").status_code == 200  # nothing broke
    database.close()


def test_an_upload_has_one_server_at_a_time(url: str, tmp_path: Path) -> None:
    where: dict[str, Any] = {"model": "scripted", "data_dir": tmp_path, "database_url": url}
    content = b"x" * 200_000
    with (
        LiveServer(**where) as one,
        LiveServer(**where) as other,
        connect(one, None) as http,
        connect(other, None) as elsewhere,
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
            with connect(server, "k") as http:
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
